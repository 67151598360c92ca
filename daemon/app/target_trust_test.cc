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
    for (const pid_t pid : pids_) end(pid);
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
  static void end(pid_t pid) {
    if (::kill(pid, SIGKILL) == 0) ::waitpid(pid, nullptr, 0);
  }
  [[nodiscard]] TrustBinder binder() const {
    return [this](int who) {
      trust::BindOptions options;
      options.run_dir = run_dir_.path();
      options.ca = {trust::kOurPem, trust::kOurHash};
      options.scan.python_roots = {"/nonexistent"};
      return trust::bind_into(who, options);
    };
  }
  static bool is_covered(pid_t pid) {
    return TestDirectory::read_file("/proc/" + std::to_string(pid) + "/mountinfo").contains("tapdeck-trust");
  }
  static void unmount_all_in(pid_t pid) {
    const std::string command = "nsenter -t " + std::to_string(pid) +
                                " -m sh -c 'grep tapdeck-trust /proc/self/mountinfo | cut -d\" \" -f5 | xargs umount'";
    EXPECT_EQ(std::system(command.c_str()), 0);
  }
  const TestDirectory run_dir_;
  trust::SharedBindings shared_;
  std::string path_;
  std::vector<pid_t> pids_;
};

TEST_F(CgroupTrust, BindsOncePerMountNamespaceAndNeverTheHosts) {
  process_in(path_, Mounts::Shared);
  const pid_t one = process_in(path_, Mounts::Own);
  const pid_t two = process_in(path_ + "/below", Mounts::Own);
  std::vector<pid_t> asked;
  TargetTrust trust;
  const auto hangs = [&](int pid) -> Result<std::unique_ptr<trust::Binding>> {
    asked.push_back(pid);
    return fail(Code::Timeout, "the file system hangs");
  };
  const auto now = TargetTrust::Clock::now();
  trust.cover(path_, shared_, hangs, TargetTrust::kMaxNamespaces, now);
  EXPECT_THAT(asked, testing::UnorderedElementsAre(one, two));
  EXPECT_THAT(trust.text(), testing::StartsWith("0 trust stores covered; it uses the host's files"));
  EXPECT_THAT(trust.text(), testing::HasSubstr("the file system hangs"));
  trust.cover(path_, shared_, hangs, TargetTrust::kMaxNamespaces, now + TargetTrust::kRetryFailed / 2);
  EXPECT_EQ(asked.size(), 2U) << "each try may hold everybody up";
  trust.cover(path_, shared_, hangs, 1, now + TargetTrust::kRetryFailed);
  EXPECT_EQ(asked.size(), 3U) << "one at a time was asked for";
}

// A unit that the manager still sets up has its own namespace already, and is given another root there later.
TEST_F(CgroupTrust, WhatAProcessLostAndWhatCameLaterIsCoveredAtTheNextLook) {
  const pid_t first = process_in(path_, Mounts::Own);
  TargetTrust trust;
  trust.cover(path_, shared_, binder());
  ASSERT_TRUE(is_covered(first));
  const std::string covered = trust.text();
  unmount_all_in(first);
  ASSERT_FALSE(is_covered(first));
  const pid_t second = process_in(path_ + "/below", Mounts::Own);
  const auto later = TargetTrust::Clock::now() + std::chrono::seconds(1);
  trust.cover(path_, shared_, binder(), TargetTrust::kMaxNamespaces, later);
  EXPECT_TRUE(is_covered(first));
  EXPECT_TRUE(is_covered(second));
  EXPECT_NE(trust.text(), covered) << "twice as many";
  end(second);
  trust.cover(path_, shared_, binder(), TargetTrust::kMaxNamespaces, later);
  EXPECT_EQ(trust.text(), covered);
  EXPECT_TRUE(trust.undo());
  EXPECT_FALSE(is_covered(first));
}

TEST_F(CgroupTrust, ACgroupAndTheOneAboveItComeOffInEitherOrder) {
  const pid_t pid = process_in(path_ + "/below", Mounts::Own);
  for (const bool above_first : {true, false}) {
    TargetTrust above, below;
    above.cover(path_, shared_, binder());
    below.cover(path_ + "/below", shared_, binder());
    EXPECT_EQ(above.text(), below.text());
    EXPECT_TRUE((above_first ? above : below).undo());
    EXPECT_TRUE(is_covered(pid)) << "for the one that is left";
    EXPECT_TRUE((above_first ? below : above).undo());
    EXPECT_FALSE(is_covered(pid));
  }
}

TEST_F(CgroupTrust, AnEmptyCgroupNeedsNothing) {
  TargetTrust trust;
  trust.cover(path_, shared_, nullptr);
  EXPECT_EQ(trust.text(), "0 trust stores covered");
}

}  // namespace
}  // namespace tapdeck::app
