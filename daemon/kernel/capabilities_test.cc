#include "daemon/kernel/capabilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>
#include <sstream>

namespace tapdeck::kernel {
namespace {

using ::testing::HasSubstr;

std::string status_with(const std::string& effective) {
  return "Name:\ttapdeck\nCapPrm:\tffffffffffffffff\nCapEff:\t" + effective + "\nCapBnd:\tffffffffffffffff\n";
}

TEST(Capabilities, AreReadFromTheEffectiveSet) {
  EXPECT_EQ(missing_capabilities(status_with("000001ffffffffff")), "");
  EXPECT_EQ(missing_capabilities(status_with("0000000000000000")),
            "CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_CHROOT");
  EXPECT_EQ(missing_capabilities(status_with("000001ffffffefff")), "CAP_NET_ADMIN");
  EXPECT_EQ(missing_capabilities(""), missing_capabilities(status_with("0")));
}

TEST(Capabilities, AreKnownWithoutADescriptorLeft) {
  std::ostringstream status;
  status << std::ifstream("/proc/self/status").rdbuf();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const std::string missing = missing_capabilities();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(missing, missing_capabilities(status.str()));
}

TEST(Capabilities, OnlyThoseThatCaptureNeedsStopIt) {
  EXPECT_TRUE(may_capture(""));
  EXPECT_TRUE(may_capture("CAP_SYS_PTRACE, CAP_SYS_CHROOT"));
  const auto refused = may_capture("CAP_NET_ADMIN, CAP_SYS_PTRACE");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::Permission);
  EXPECT_THAT(refused.error().detail, HasSubstr("CAP_NET_ADMIN, CAP_SYS_PTRACE; no capture path works without them"));
  EXPECT_THAT(refused.error().detail, HasSubstr("recordings looked at, imported and exported"));
}

}  // namespace
}  // namespace tapdeck::kernel
