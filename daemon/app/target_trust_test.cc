#include "daemon/app/target_trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/app/cgroup2.h"

namespace tapdeck::app {
namespace {

enum class Mounts { Shared, Own };

class CgroupTrust : public testing::Test {
 protected:
  void SetUp() override {
    const auto mount = find_cgroup2_mount();
    if (!mount || ::geteuid() != 0) GTEST_SKIP() << "needs root and cgroup2";
    path_ = *mount + "/tapdeck-test-" + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(path_.c_str(), 0755), 0);
    ASSERT_EQ(::mkdir((path_ + "/below").c_str(), 0755), 0);
  }
  void TearDown() override {
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    if (path_.empty()) return;
    ::rmdir((path_ + "/below").c_str());
    ::rmdir(path_.c_str());
  }
  pid_t process_in(const std::string& cgroup, Mounts mounts) {
    int ready[2];
    if (::pipe(ready) != 0) return -1;
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      FILE* procs = ::fopen((cgroup + "/cgroup.procs").c_str(), "w");
      if (procs == nullptr || std::fprintf(procs, "0") < 0 || std::fclose(procs) != 0) ::_exit(1);
      if (mounts == Mounts::Own && ::unshare(CLONE_NEWNS) != 0) ::_exit(1);
      if (::write(ready[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char byte;
    ::close(ready[1]);
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    pids_.push_back(pid);
    return pid;
  }
  std::string path_;
  std::vector<pid_t> pids_;
};

TEST_F(CgroupTrust, BindsOncePerMountNamespaceAndNeverTheHosts) {
  process_in(path_, Mounts::Shared);
  const pid_t one = process_in(path_, Mounts::Own);
  const pid_t two = process_in(path_ + "/below", Mounts::Own);
  std::vector<pid_t> asked;
  const TargetTrust trust = bind_cgroup_trust(path_, [&](int pid) -> Result<std::unique_ptr<trust::Binding>> {
    asked.push_back(pid);
    return fail(Code::Timeout, "the file system hangs");
  });
  EXPECT_THAT(asked, testing::UnorderedElementsAre(one, two));
  EXPECT_THAT(trust.text, testing::StartsWith("0 trust stores covered; it uses the host's files"));
  EXPECT_THAT(trust.text, testing::HasSubstr("the file system hangs"));
}

TEST_F(CgroupTrust, AnEmptyCgroupNeedsNothing) {
  EXPECT_EQ(bind_cgroup_trust(path_, nullptr).text, "0 trust stores covered");
}

}  // namespace
}  // namespace tapdeck::app
