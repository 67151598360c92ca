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

#include <algorithm>
#include <functional>
#include <sstream>

#include "daemon/base/test_directory.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/trust/fake_binding.h"
#include "daemon/trust/test_certificates.h"

namespace tapdeck::app {
namespace {

enum class Mounts { Shared, Own };

// Of a namespace without a store.
class EmptyBinding : public trust::FakeBinding {
 public:
  EmptyBinding() : FakeBinding(0, [] { return Result<void>{}; }) { report_ = {}; }
};

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
  [[nodiscard]] TrustBinder binder(std::vector<std::string> python_roots = {"/nonexistent"}) const {
    return [this, python_roots](int who) {
      trust::BindOptions options;
      options.run_dir = run_dir_.path();
      options.ca = {trust::kOurPem, trust::kOurHash};
      options.scan.python_roots = python_roots;
      return trust::bind_into(who, options);
    };
  }
  static bool is_covered(pid_t pid) {
    return TestDirectory::read_file("/proc/" + std::to_string(pid) + "/mountinfo").contains("tapdeck-trust");
  }
  static void in_mounts_of(pid_t pid, const std::string& command) {
    EXPECT_EQ(std::system(("nsenter -t " + std::to_string(pid) + " -m " + command).c_str()), 0);
  }
  static void unmount_all_in(pid_t pid) {
    in_mounts_of(pid, "sh -c 'grep tapdeck-trust /proc/self/mountinfo | cut -d\" \" -f5 | xargs umount'");
  }
  // The mounts of ours that a process sees, by their numbers.
  static std::vector<std::string> covers_of(pid_t pid) {
    std::vector<std::string> out;
    std::istringstream lines(TestDirectory::read_file("/proc/" + std::to_string(pid) + "/mountinfo"));
    for (std::string line; std::getline(lines, line);) {
      if (line.contains("tapdeck-trust")) out.push_back(line.substr(0, line.find(' ')));
    }
    std::ranges::sort(out);
    return out;
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

// This process in mounts of its own that propagate, as those of a host do.
class HostMounts {
 public:
  HostMounts() {
    good_ = ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
            ::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0;
  }
  ~HostMounts() {
    EXPECT_EQ(::setns(before_.get(), CLONE_NEWNS), 0);
    EXPECT_EQ(::fchdir(directory_.get()), 0);
  }
  HostMounts(const HostMounts&) = delete;
  HostMounts& operator=(const HostMounts&) = delete;
  [[nodiscard]] bool is_good() const { return good_; }

 private:
  UniqueFd before_{::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)};
  UniqueFd directory_{::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  bool good_ = false;
};

// As a runtime leaves it for a moment: what is mounted there would be mounted on the host.
TEST_F(CgroupTrust, ANamespaceThatIsSharedWithTheHostAtFirstIsCoveredOnceItIsNot) {
  const HostMounts host;
  ASSERT_TRUE(host.is_good());
  const pid_t pid = process_in(path_, [] { return ::unshare(CLONE_NEWNS) == 0; });
  TargetTrust trust;
  auto now = TargetTrust::Clock::now();
  const auto clock = [&] { return now; };
  trust.cover(path_, shared_, binder(), TargetTrust::kMaxNamespaces, clock);
  ASSERT_FALSE(is_covered(pid));
  EXPECT_THAT(trust.text(), testing::HasSubstr("propagate"));
  in_mounts_of(pid, "mount --make-rprivate /");
  now += std::chrono::milliseconds(100);
  trust.cover(path_, shared_, binder(), TargetTrust::kMaxNamespaces, clock);
  EXPECT_TRUE(is_covered(pid));
  EXPECT_THAT(trust.text(), testing::Not(testing::HasSubstr("propagate")));
  EXPECT_TRUE(trust.undo());
  EXPECT_FALSE(is_covered(pid));
}

TEST_F(CgroupTrust, WhatIsCoveredInPartIsCompletedAndKeepsWhatItHas) {
  const HostMounts host;
  ASSERT_TRUE(host.is_good());
  const TestDirectory python;
  python.write("site-packages/certifi/cacert.pem", trust::kOtherPem);
  const std::string place = python.path();
  ASSERT_EQ(::mount(place.c_str(), place.c_str(), nullptr, MS_BIND, nullptr), 0);
  const pid_t pid = process_in(
      path_, [] { return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_PRIVATE, nullptr) == 0; });
  const std::string seen = "/proc/" + std::to_string(pid) + "/root" + place + "/site-packages/certifi/cacert.pem";
  TargetTrust trust;
  auto now = TargetTrust::Clock::now();
  const auto clock = [&] { return now; };
  trust.cover(path_, shared_, binder({place}), TargetTrust::kMaxNamespaces, clock);
  const std::vector<std::string> before = covers_of(pid);
  ASSERT_FALSE(before.empty());
  ASSERT_EQ(TestDirectory::read_file(seen), trust::kOtherPem);
  in_mounts_of(pid, "mount --make-rprivate /");
  now += std::chrono::milliseconds(100);
  trust.cover(path_, shared_, binder({place}), TargetTrust::kMaxNamespaces, clock);
  EXPECT_EQ(TestDirectory::read_file(seen), trust::kOtherPem + trust::kOurPem);
  const std::vector<std::string> after = covers_of(pid);
  EXPECT_EQ(after.size(), before.size() + 1);
  EXPECT_TRUE(std::ranges::includes(after, before)) << "nobody lost trust meanwhile";
  EXPECT_TRUE(trust.undo());
  EXPECT_THAT(covers_of(pid), testing::IsEmpty());
  ASSERT_EQ(::umount2(place.c_str(), MNT_DETACH), 0);
}

TEST_F(CgroupTrust, ANamespaceOfANumberThatHadNothingToCoverIsLookedAtAnew) {
  const pid_t first = process_in(path_, Mounts::Own);
  size_t asked = 0;
  const auto nothing = [&](int) -> Result<std::unique_ptr<trust::Binding>> {
    ++asked;
    return std::make_unique<EmptyBinding>();
  };
  auto now = TargetTrust::Clock::now();
  const auto clock = [&] { return now; };
  TargetTrust trust;
  trust.cover(path_, shared_, nothing, TargetTrust::kMaxNamespaces, clock);
  now += std::chrono::minutes(1);
  trust.cover(path_, shared_, nothing, TargetTrust::kMaxNamespaces, clock);
  EXPECT_EQ(asked, 1U) << "there is nothing to cover";
  const std::string mounts = "/proc/" + std::to_string(first) + "/ns/mnt";
  process_in(path_, [&] { return ::setns(::open(mounts.c_str(), O_RDONLY | O_CLOEXEC), CLONE_NEWNS) == 0; });
  end(first);
  trust.cover(path_, shared_, nothing, TargetTrust::kMaxNamespaces, clock);
  EXPECT_EQ(asked, 2U) << "another process, and perhaps another namespace";
}

TEST_F(CgroupTrust, WhatHadNoTurnYetIsSaidAndARestartIsNoNewBudget) {
  for (int i = 0; i < 3; ++i) process_in(path_, Mounts::Own);
  size_t asked = 0;
  auto now = TargetTrust::Clock::now();
  const auto clock = [&] { return now; };
  const auto hangs = [&](int) -> Result<std::unique_ptr<trust::Binding>> {
    ++asked;
    now += std::chrono::seconds(10);
    return fail(Code::Timeout, "the file system hangs");
  };
  TargetTrust trust;
  trust.cover(path_, shared_, hangs, TargetTrust::kMaxNamespaces, clock);
  EXPECT_EQ(asked, 1U);
  EXPECT_THAT(trust.text(), testing::HasSubstr("; 2 more views of files not covered yet"));
  trust.clear();
  EXPECT_EQ(trust.text(), "0 trust stores covered");
  now += std::chrono::seconds(1);
  trust.cover(path_, shared_, hangs, TargetTrust::kMaxNamespaces, clock);
  EXPECT_EQ(asked, 1U);
}

TEST_F(CgroupTrust, AfterOneThatHungTheRestIsLeft) {
  for (int i = 0; i < 3; ++i) process_in(path_, Mounts::Own);
  int undone = 0;
  const auto bind = [&](int pid) -> Result<std::unique_ptr<trust::Binding>> {
    return std::make_unique<trust::FakeBinding>(pid, [&]() -> Result<void> {
      ++undone;
      return fail(Code::Timeout, "it hangs");
    });
  };
  TargetTrust trust;
  trust.cover(path_, shared_, bind);
  EXPECT_EQ(trust.undo().error().code, Code::Timeout);
  EXPECT_EQ(undone, 1);
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
