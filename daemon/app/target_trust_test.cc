#include "daemon/app/target_trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/test_directory.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/trust/test_certificates.h"

namespace tapdeck::app {
namespace {

enum class Mounts { Shared, Own };

class CgroupTrust : public testing::Test {
 protected:
  void SetUp() override {
    const auto mount = kernel::find_cgroup2_mount();
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
      if (mounts == Mounts::Own &&
          (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)) {
        ::_exit(1);
      }
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
  trust::SharedBindings shared_;
  std::string path_;
  std::vector<pid_t> pids_;
};

TEST_F(CgroupTrust, BindsOncePerMountNamespaceAndNeverTheHosts) {
  process_in(path_, Mounts::Shared);
  const pid_t one = process_in(path_, Mounts::Own);
  const pid_t two = process_in(path_ + "/below", Mounts::Own);
  std::vector<pid_t> asked;
  const TargetTrust trust = bind_cgroup_trust(path_, shared_, [&](int pid) -> Result<std::unique_ptr<trust::Binding>> {
    asked.push_back(pid);
    return fail(Code::Timeout, "the file system hangs");
  });
  EXPECT_THAT(asked, testing::UnorderedElementsAre(one, two));
  EXPECT_THAT(trust.text, testing::StartsWith("0 trust stores covered; it uses the host's files"));
  EXPECT_THAT(trust.text, testing::HasSubstr("the file system hangs"));
}

TEST_F(CgroupTrust, ACgroupAndTheOneAboveItComeOffInEitherOrder) {
  const pid_t pid = process_in(path_ + "/below", Mounts::Own);
  const TestDirectory run_dir;
  const auto bind = [&](int who) {
    trust::BindOptions options;
    options.run_dir = run_dir.path();
    options.ca = {trust::kOurPem, trust::kOurHash};
    options.scan.python_roots = {"/nonexistent"};
    return trust::bind_into(who, options);
  };
  const auto is_covered = [&] {
    const std::string mounts = TestDirectory::read_file("/proc/" + std::to_string(pid) + "/mountinfo");
    return mounts.find("tapdeck-trust") != std::string::npos;
  };
  for (const bool above_first : {true, false}) {
    TargetTrust above = bind_cgroup_trust(path_, shared_, bind);
    TargetTrust below = bind_cgroup_trust(path_ + "/below", shared_, bind);
    EXPECT_EQ(above.text, below.text);
    ASSERT_EQ(above.bindings.size(), 1U);
    ASSERT_EQ(below.bindings.size(), 1U);
    EXPECT_TRUE((above_first ? above : below).bindings[0]->undo());
    EXPECT_TRUE(is_covered()) << "for the one that is left";
    EXPECT_TRUE((above_first ? below : above).bindings[0]->undo());
    EXPECT_FALSE(is_covered());
  }
}

TEST_F(CgroupTrust, AnEmptyCgroupNeedsNothing) {
  EXPECT_EQ(bind_cgroup_trust(path_, shared_, nullptr).text, "0 trust stores covered");
}

}  // namespace
}  // namespace tapdeck::app
