#include "daemon/app/target_trust.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

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
    return process_in(cgroup, [mounts] {
      return mounts == Mounts::Shared ||
             (::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    });
  }
  // In the mount namespace of `pid`, below a root of its own.
  pid_t chrooted_beside(pid_t pid, const std::string& cgroup) {
    const std::string mounts = "/proc/" + std::to_string(pid) + "/ns/mnt";
    return process_in(cgroup, [&] {
      return ::setns(::open(mounts.c_str(), O_RDONLY | O_CLOEXEC), CLONE_NEWNS) == 0 &&
             ::chroot(run_dir_.path().c_str()) == 0;
    });
  }
  pid_t process_in(const std::string& cgroup, const std::function<bool()>& set_up) {
    int ready[2];
    if (::pipe(ready) != 0) return -1;
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      FILE* procs = ::fopen((cgroup + "/cgroup.procs").c_str(), "w");
      if (procs == nullptr || std::fprintf(procs, "0") < 0 || std::fclose(procs) != 0) ::_exit(1);
      if (!set_up()) ::_exit(1);
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
  auto now = TargetTrust::Clock::now();
  const auto clock = [&] { return now; };
  trust.cover(path_, shared_, hangs, TargetTrust::kMaxNamespaces, clock);
  EXPECT_THAT(asked, testing::UnorderedElementsAre(one, two));
  EXPECT_THAT(trust.text(), testing::StartsWith("0 trust stores covered; it uses the host's files"));
  EXPECT_THAT(trust.text(), testing::HasSubstr("the file system hangs"));
  now += TargetTrust::kRetryFailed / 2;
  trust.cover(path_, shared_, hangs, TargetTrust::kMaxNamespaces, clock);
  EXPECT_EQ(asked.size(), 2U) << "each try may hold everybody up";
  now += TargetTrust::kRetryFailed;
  trust.cover(path_, shared_, hangs, 1, clock);
  EXPECT_EQ(asked.size(), 3U) << "one at a time was asked for";
}

TEST_F(CgroupTrust, WhatHangsTakesATenthOfTheTime) {
  for (int i = 0; i < 4; ++i) process_in(path_, Mounts::Own);
  size_t asked = 0;
  auto now = TargetTrust::Clock::now();
  const auto clock = [&] { return now; };
  const auto hangs = [&](int) -> Result<std::unique_ptr<trust::Binding>> {
    ++asked;
    now += std::chrono::seconds(10);
    return fail(Code::Timeout, "the file system hangs");
  };
  TargetTrust trust;
  const auto begun = now;
  while (now < begun + std::chrono::minutes(20)) {
    trust.cover(path_, shared_, hangs, TargetTrust::kMaxNamespaces, clock);
    EXPECT_LE(std::chrono::seconds(10) * asked, (now - begun) / 10 + std::chrono::seconds(15));
    now += std::chrono::seconds(1);
  }
  EXPECT_GT(asked, 8U) << "and is tried again";
}

TEST_F(CgroupTrust, AProcessThatEndsMeanwhileDoesNotCostTheOthersInItsNamespace) {
  process_in(path_, Mounts::Own);
  size_t asked = 0;
  const auto ends = [&](int) -> Result<std::unique_ptr<trust::Binding>> {
    ++asked;
    return fail(Code::NotFound, "it is gone");
  };
  auto now = TargetTrust::Clock::now();
  const auto clock = [&] { return now; };
  TargetTrust trust;
  trust.cover(path_, shared_, ends, TargetTrust::kMaxNamespaces, clock);
  now += std::chrono::seconds(1);
  trust.cover(path_, shared_, ends, TargetTrust::kMaxNamespaces, clock);
  EXPECT_EQ(asked, 2U);
}

TEST_F(CgroupTrust, AProcessThatSeesLessThanTheOthersUncoversNothing) {
  const pid_t first = process_in(path_ + "/below", Mounts::Own);
  size_t bound = 0;
  const auto counting = [&](int pid) {
    ++bound;
    return binder()(pid);
  };
  TargetTrust trust;
  trust.cover(path_, shared_, counting);
  ASSERT_TRUE(is_covered(first));
  const pid_t chrooted = chrooted_beside(first, path_);
  ASSERT_FALSE(is_covered(chrooted));
  const auto later = [at = TargetTrust::Clock::now() + std::chrono::seconds(1)] { return at; };
  trust.cover(path_, shared_, counting, TargetTrust::kMaxNamespaces, later);
  EXPECT_EQ(bound, 1U);
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
  const auto later = [at = TargetTrust::Clock::now() + std::chrono::seconds(1)] { return at; };
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
