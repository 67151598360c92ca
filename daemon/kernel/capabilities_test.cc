#include "daemon/kernel/capabilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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
            "CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_CHROOT, CAP_DAC_READ_SEARCH");
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

TEST(Capabilities, OfAUserNamespaceAreNotThoseThatCaptureNeeds) {
  EXPECT_EQ(missing_in("user:[4026531837]", "CAP_BPF"), "CAP_BPF");
  EXPECT_EQ(missing_in("", ""), "") << "no /proc says nothing";
  const std::string missing = missing_in("user:[4026532257]", "");
  EXPECT_EQ(missing, "CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN of the host: this is a user namespace");
  EXPECT_THAT(may_capture(missing).error().detail, HasSubstr("run it as root outside of that, or see"));
}

TEST(Capabilities, RootOfAUserNamespaceLacksThem) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWUSER) != 0) ::_exit(77);
    ::_exit(missing_capabilities().contains("of the host: this is a user namespace") ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "NOT RUN: needs user namespaces";
  EXPECT_EQ(status, 0);
}

TEST(Capabilities, OnlyThoseThatCaptureNeedsStopIt) {
  EXPECT_TRUE(may_capture(""));
  EXPECT_TRUE(may_capture("CAP_SYS_PTRACE, CAP_SYS_CHROOT, CAP_DAC_READ_SEARCH"));
  const auto refused = may_capture("CAP_NET_ADMIN, CAP_SYS_PTRACE");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::Permission);
  EXPECT_THAT(refused.error().detail, HasSubstr("CAP_NET_ADMIN, CAP_SYS_PTRACE; run it as root (sudo)"));
  EXPECT_THAT(refused.error().detail, HasSubstr("tapdeck run --capture netns"));
  EXPECT_THAT(refused.error().detail, HasSubstr("recordings looked at, imported and exported"));
}

}  // namespace
}  // namespace tapdeck::kernel
