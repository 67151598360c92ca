#include "daemon/kernel/probe.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/kernel/netns/lab.h"

namespace tapdeck::kernel {
namespace {

TEST(Probe, RootFindsBothPathsAndLeavesNothingBehind) {
  if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
  const auto findings = probe();
  for (const auto& one : findings) {
    EXPECT_FALSE(one.detail.empty()) << one.name;
    EXPECT_EQ(one.ok, one.consequence.empty()) << one.name;
    EXPECT_EQ(one.use == Use::Later, one.name == "nft_tproxy" || one.name == "user_namespace") << one.name;
    if (one.name == "cgroup_capture" || one.name == "tc_capture" || one.name == "mount_namespace") {
      EXPECT_TRUE(one.ok) << one.name << ": " << one.detail;
    }
  }
  EXPECT_EQ(lab::output_of("ls -d /tmp/tapdeck-probe-* 2>/dev/null"), "");
  EXPECT_EQ(lab::output_of("find /sys/fs/cgroup -maxdepth 2 -name 'tapdeck-probe-*'"), "");
}

TEST(Probe, OrdinaryUserIsToldWhatIsMissing) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0))
      ::_exit(9);
    const auto findings = probe();
    const auto found =
        std::find_if(findings.begin(), findings.end(), [](const auto& f) { return f.name == "capabilities"; });
    ::_exit(found != findings.end() && !found->ok && found->detail.find("CAP_BPF") != std::string::npos ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace tapdeck::kernel
