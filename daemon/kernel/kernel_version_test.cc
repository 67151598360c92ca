#include "daemon/kernel/kernel_version.h"

#include <gtest/gtest.h>
#include <sys/personality.h>

#include <cerrno>

#include "daemon/kernel/bpf_object.h"

namespace tapdeck::kernel {
namespace {

TEST(KernelVersion, OldIsWhatIsBefore515) {
  for (const char* old : {"2.6.32", "4.19.0-27-amd64", "5.4.0", "5.14.21", "", "x"})
    EXPECT_TRUE(is_too_old(old)) << old;
  for (const char* fine : {"5.15.0", "5.18.0-rc1", "6.1.0-13-amd64", "10.0"}) EXPECT_FALSE(is_too_old(fine)) << fine;
}

// The kernel can be told to call itself 2.6.
TEST(KernelVersion, ARefusedBpfCallOnAnOldKernelSaysSo) {
  forget_complaint();
  EXPECT_EQ(fail_libbpf(-EINVAL, "load").error().detail.find("older than"), std::string::npos);
  const int before = ::personality(0xffffffff);
  ASSERT_GE(::personality(static_cast<unsigned long>(before) | UNAME26), 0);
  const std::string told = fail_libbpf(-EINVAL, "load").error().detail;
  ::personality(static_cast<unsigned long>(before));
  EXPECT_NE(told.find("(Linux 2.6."), std::string::npos) << told;
  EXPECT_NE(told.find(" is older than 5.15)"), std::string::npos) << told;
}

}  // namespace
}  // namespace tapdeck::kernel
