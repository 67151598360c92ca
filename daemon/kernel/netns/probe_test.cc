#include "daemon/kernel/probe.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/kernel/netns/lab.h"

namespace tapdeck::kernel {
namespace {

TEST(Probe, RootFindsAllPathsAndLeavesNothingBehind) {
  if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
  const auto findings = probe();
  for (const auto& one : findings) {
    EXPECT_FALSE(one.detail.empty()) << one.name;
    EXPECT_EQ(one.ok, one.consequence.empty()) << one.name;
    if (one.name == "cgroup_capture" || one.name == "tc_capture" || one.name == "netns_capture" ||
        one.name == "mount_namespace") {
      EXPECT_TRUE(one.ok) << one.name << ": " << one.detail;
    }
  }
  EXPECT_EQ(lab::output_of("ls -d /tmp/tapdeck-probe-* 2>/dev/null"), "");
  EXPECT_EQ(lab::output_of("find /sys/fs/cgroup -maxdepth 2 -name 'tapdeck-probe-*'"), "");
}

TEST(Probe, WhoLacksOnlyWhatTrustNeedsIsToldThatCaptureWorks) {
  if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
  const pid_t child = ::fork();
  if (child == 0) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[2] = {};
    if (::syscall(SYS_capget, &header, data) != 0) ::_exit(9);
    data[0].effective &= ~(1U << CAP_DAC_READ_SEARCH);
    if (::syscall(SYS_capset, &header, data) != 0) ::_exit(9);
    const auto findings = probe();
    const auto of = [&](const char* name) { return std::ranges::find(findings, name, &Finding::name); };
    const bool as_it_should = of("capabilities")->ok && !of("trust_capabilities")->ok &&
                              of("trust_capabilities")->detail == "missing CAP_DAC_READ_SEARCH" &&
                              of("trust_capabilities")->use == Use::Partly;
    ::_exit(as_it_should ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Probe, OrdinaryUserIsToldWhatIsMissingAndWhatWorks) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0))
      ::_exit(9);
    const auto findings = probe();
    const auto of = [&](const char* name) { return std::ranges::find(findings, name, &Finding::name); };
    const auto found = of("capabilities");
    const bool is_told = !found->ok && found->detail.find("CAP_BPF") != std::string::npos;
    ::_exit(is_told && of("netns_capture")->ok ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace tapdeck::kernel
