// Real cgroups, all below one `tapdeck-test-PID` of this process's own.
#include "daemon/app/run_cgroup.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>

#include "daemon/app/cgroup_tree.h"
#include "daemon/app/child.h"
#include "daemon/app/next_step.h"
#include "daemon/base/eventually.h"
#include "daemon/base/processes.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {
namespace {

using std::chrono::milliseconds;

class Cgroup : public testing::Test {
 protected:
  void SetUp() override {
    const auto mount = kernel::find_cgroup2_mount();
    if (!mount || ::geteuid() != 0) GTEST_SKIP() << "needs root and a cgroup2 mount";
    parent_ = *mount + "/tapdeck-test-" + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(parent_.c_str(), 0755), 0) << std::strerror(errno);
  }
  void TearDown() override {
    if (parent_.empty()) return;
    EXPECT_TRUE(kill_all_in(parent_, milliseconds(5000)));
    EXPECT_TRUE(eventually([] { return ::waitpid(-1, nullptr, WNOHANG) < 0; })) << "a child stays";
    EXPECT_TRUE(remove_cgroup(parent_));
  }
  static std::unique_ptr<Child> start(const RunCgroup& cgroup, const std::string& script, const SignalRelay& relay) {
    ChildOptions options;
    options.argv = {"/bin/sh", "-c", script};
    options.environment = {"PATH=/usr/bin:/bin"};
    options.cgroup_fd = cgroup.fd();
    auto child = Child::start(options, relay);
    EXPECT_TRUE(child) << child.error().message();
    return std::move(*child);
  }
  std::string parent_;
};

TEST_F(Cgroup, TheCommandIsInItBeforeItsFirstInstruction) {
  auto cgroup = RunCgroup::create_below(parent_);
  ASSERT_TRUE(cgroup) << cgroup.error().message();
  const SignalRelay relay;
  auto child = start(**cgroup, "grep -q '^0::.*/tapdeck-run-' /proc/self/cgroup", relay);
  EXPECT_THAT((*cgroup)->pids(), testing::ElementsAre(child->pid()));
  ASSERT_TRUE(child->release());
  EXPECT_EQ(child->wait(relay).value, 0);
}

TEST_F(Cgroup, IsGoneWhenTheObjectIs) {
  std::string path;
  {
    auto cgroup = RunCgroup::create_below(parent_);
    ASSERT_TRUE(cgroup) << cgroup.error().message();
    path = (*cgroup)->path();
    EXPECT_TRUE(std::filesystem::exists(path));
    // What the command itself made below it goes as well.
    std::filesystem::create_directories(path + "/made/by/command");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Cgroup, EndsWhatOutlivedTheCommandEvenIfItIgnoresTerm) {
  auto cgroup = RunCgroup::create_below(parent_);
  ASSERT_TRUE(cgroup) << cgroup.error().message();
  const SignalRelay relay;
  auto child = start(**cgroup, "(trap '' TERM; exec sleep 1000) & exit 5", relay);
  ASSERT_TRUE(child->release());
  EXPECT_EQ(child->wait(relay).value, 5);
  ASSERT_EQ((*cgroup)->pids().size(), 1U);
  EXPECT_EQ((*cgroup)->end_leftovers(milliseconds(10), milliseconds(100)), 1U);
  EXPECT_THAT((*cgroup)->pids(), testing::IsEmpty());
  const auto removed = (*cgroup)->remove();
  EXPECT_TRUE(removed) << removed.error().message();
}

TEST_F(Cgroup, NothingIsEndedWhenNothingIsLeft) {
  auto cgroup = RunCgroup::create_below(parent_);
  ASSERT_TRUE(cgroup) << cgroup.error().message();
  EXPECT_EQ((*cgroup)->end_leftovers(milliseconds(0), milliseconds(0)), 0U);
}

TEST_F(Cgroup, RemovesLeftoversOfDeadRunsButNotOfLivingOnes) {
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ::waitpid(dead, nullptr, 0);
  const std::string stale = parent_ + "/tapdeck-run-" + std::to_string(dead) + "-0";
  const std::string living = parent_ + "/tapdeck-run-" + std::to_string(::getpid()) + "-777";
  const std::string other = parent_ + "/tapdeck-run-x-0";
  for (const std::string& path : {stale, living, other}) ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  const UniqueFd held = hold(living);
  ASSERT_TRUE(held);
  EXPECT_EQ(clear_dead_run_cgroups_below(parent_), 1U);
  EXPECT_FALSE(std::filesystem::exists(stale));
  EXPECT_TRUE(std::filesystem::exists(living));
  EXPECT_TRUE(std::filesystem::exists(other));
  ::rmdir(living.c_str());
  ::rmdir(other.c_str());
}

// A process that sleeps in `cgroup`.
pid_t sleep_in(const std::string& cgroup, uid_t user = 0) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const UniqueFd procs(::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  const bool is_in = ::write(procs.get(), "0", 1) == 1 && (user == 0 || ::setuid(user) == 0);
  if (is_in) ::execlp("sleep", "sleep", "1000", nullptr);
  ::_exit(1);
}

pid_t of_the_dead() {
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ::waitpid(dead, nullptr, 0);
  return dead;
}

TEST_F(Cgroup, KillsWhoOutlivedADeadRunHoweverDeepAndSaysHowMany) {
  const std::string stale = parent_ + "/tapdeck-run-" + std::to_string(of_the_dead()) + "-0";
  ASSERT_TRUE(std::filesystem::create_directories(stale + "/made/by/command"));
  const std::array<pid_t, 2> survivors = {sleep_in(stale), sleep_in(stale + "/made/by/command")};
  ASSERT_TRUE(eventually([&] { return pids_in(stale).size() >= 2; }));
  testing::internal::CaptureStderr();
  EXPECT_EQ(clear_dead_run_cgroups_below(parent_), 1U);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, testing::HasSubstr("run.survivors_killed"));
  EXPECT_THAT(said, testing::HasSubstr("processes=2"));
  EXPECT_FALSE(std::filesystem::exists(stale));
  for (const pid_t pid : survivors) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
}

TEST_F(Cgroup, KillsNobodyWhereTheRunIsAliveInAnotherProcessNamespace) {
  const std::string elsewhere = parent_ + "/tapdeck-run-" + std::to_string(of_the_dead()) + "-0";
  ASSERT_EQ(::mkdir(elsewhere.c_str(), 0755), 0);
  const pid_t pid = sleep_in(elsewhere);
  ASSERT_TRUE(eventually([&] { return !pids_in(elsewhere).empty(); }));
  {
    const UniqueFd held = hold(elsewhere);
    ASSERT_TRUE(held);
    EXPECT_EQ(clear_dead_run_cgroups_below(parent_), 0U);
    const auto removed = clear_dead_run_cgroup(elsewhere);
    EXPECT_TRUE(!removed && removed.error().code == Code::Busy);
    EXPECT_THAT(pids_in(elsewhere), testing::ElementsAre(pid));
  }
  EXPECT_EQ(clear_dead_run_cgroups_below(parent_), 1U);
  ::waitpid(pid, nullptr, 0);
}

TEST_F(Cgroup, IsHeldAsLongAsTheRunLives) {
  auto cgroup = RunCgroup::create_below(parent_);
  ASSERT_TRUE(cgroup) << cgroup.error().message();
  EXPECT_TRUE(is_held((*cgroup)->path()));
}

TEST_F(Cgroup, OnlyTheCgroupOfARunIsEverEmptied) {
  const pid_t pid = sleep_in(parent_);
  ASSERT_TRUE(eventually([&] { return !pids_in(parent_).empty(); }));
  const auto removed = clear_dead_run_cgroup(parent_);
  EXPECT_TRUE(!removed && removed.error().code == Code::Busy);
  EXPECT_THAT(pids_in(parent_), testing::ElementsAre(pid));
  EXPECT_TRUE(clear_dead_run_cgroup(parent_ + "/missing"));
  EXPECT_TRUE(kill_all_in(parent_, milliseconds(5000)));
  ::waitpid(pid, nullptr, 0);
}

// Its number is long another process's, ours here.
TEST_F(Cgroup, WhoseNumberIsInUseAgainIsDeadAllTheSame) {
  const std::string stale = parent_ + "/tapdeck-run-" + std::to_string(::getpid()) + "-777777";
  ASSERT_EQ(::mkdir(stale.c_str(), 0755), 0);
  EXPECT_EQ(clear_dead_run_cgroups_below(parent_), 1U);
  EXPECT_FALSE(std::filesystem::exists(stale));
}

TEST_F(Cgroup, ANewRunLeavesANameAloneThatIsTaken) {
  auto first = RunCgroup::create_below(parent_);
  ASSERT_TRUE(first) << first.error().message();
  const std::string path = (*first)->path();
  const size_t dash = path.rfind('-') + 1;
  const int serial = std::stoi(path.substr(dash));
  const std::string taken = path.substr(0, dash) + std::to_string(serial + 1);
  ASSERT_EQ(::mkdir(taken.c_str(), 0755), 0);
  const UniqueFd held = hold(taken);
  auto second = RunCgroup::create_below(parent_);
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ((*second)->path(), path.substr(0, dash) + std::to_string(serial + 2));
}

// In a process of its own: without a descriptor left it can neither see who lives nor whether the run does.
template <class Then>
int status_without_descriptors(const Then& then) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    while (::open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) {
    }
    ::_exit(then() ? 0 : 1);
  }
  int status = -1;
  return ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(Cgroup, WhoCannotLookTakesNobodyForDead) {
  auto living = RunCgroup::create_below(parent_);
  ASSERT_TRUE(living) << living.error().message();
  const pid_t pid = sleep_in((*living)->path());
  ASSERT_TRUE(eventually([&] { return !(*living)->pids().empty(); }));
  const std::string path = (*living)->path();
  EXPECT_EQ(status_without_descriptors([&] {
              return !clear_dead_run_cgroup(path) && wait_until_empty(path, milliseconds(0)) == Population::Unknown &&
                     is_held(path);
            }),
            0);
  EXPECT_THAT((*living)->pids(), testing::ElementsAre(pid));
  EXPECT_EQ((*living)->end_leftovers(milliseconds(0)), 1U);
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
}

// A run within a run that died.
TEST_F(Cgroup, NobodyEndsHimself) {
  const std::string outer = parent_ + "/tapdeck-run-" + std::to_string(of_the_dead()) + "-0";
  ASSERT_TRUE(std::filesystem::create_directories(outer + "/inner"));
  const pid_t pid = ::fork();
  if (pid == 0) {
    const UniqueFd procs(::open((outer + "/inner/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (::write(procs.get(), "0", 1) != 1) ::_exit(2);
    const auto cleared = clear_dead_run_cgroup(outer);
    ::_exit(!cleared && cleared.error().code == Code::Unsupported ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(clear_dead_run_cgroups_below(parent_), 1U);
}

// As the service in its sandbox: cgroups are read-only to it, and it may not kill whom it does not own.
template <class Then>
int status_in_sandbox(const std::string& mount, const Then& then) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    const unsigned long bind = MS_REMOUNT | MS_BIND | MS_RDONLY;
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("", mount.c_str(), nullptr, bind, nullptr) != 0) {
      ::_exit(2);
    }
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    if (::syscall(SYS_capget, &header, data) != 0) ::_exit(3);
    data[0].effective &= ~(1U << CAP_KILL);
    if (::syscall(SYS_capset, &header, data) != 0) ::_exit(3);
    ::_exit(then() ? 0 : 1);
  }
  int status = -1;
  return ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(Cgroup, AnEmptyOneThatCannotBeRemovedIsInNobodysWay) {
  const std::string stale = parent_ + "/tapdeck-run-" + std::to_string(of_the_dead()) + "-0";
  ASSERT_EQ(::mkdir(stale.c_str(), 0755), 0);
  EXPECT_EQ(status_in_sandbox(*kernel::find_cgroup2_mount(), [&] { return clear_dead_run_cgroup(stale).has_value(); }),
            0);
  EXPECT_TRUE(std::filesystem::exists(stale)) << "this test's sandbox let it";
  EXPECT_EQ(clear_dead_run_cgroups_below(parent_), 1U);
}

TEST_F(Cgroup, WhoCannotBeKilledIsNamedAtOnceAndStays) {
  const std::string stale = parent_ + "/tapdeck-run-" + std::to_string(of_the_dead()) + "-0";
  ASSERT_EQ(::mkdir(stale.c_str(), 0755), 0);
  const pid_t roots = sleep_in(stale);
  const pid_t others = sleep_in(stale, 65534);
  ASSERT_TRUE(eventually([&] { return pids_in(stale).size() >= 2; }));
  // Whom it can kill, it does: one by one.
  EXPECT_EQ(status_in_sandbox(*kernel::find_cgroup2_mount(),
                              [&] {
                                const auto cleared = clear_dead_run_cgroup(stale);
                                return !cleared && cleared.error().code == Code::Permission &&
                                       cleared.error().detail.contains("sudo tapdeck clean");
                              }),
            0);
  EXPECT_EQ(::waitpid(roots, nullptr, 0), roots);
  EXPECT_THAT(pids_in(stale), testing::ElementsAre(others));
  EXPECT_EQ(clear_dead_run_cgroups_below(parent_), 1U);
  EXPECT_EQ(::waitpid(others, nullptr, 0), others);
}

TEST_F(Cgroup, NamesTheCgroupItCannotMake) {
  const auto cgroup = RunCgroup::create_below(parent_ + "/missing");
  ASSERT_FALSE(cgroup);
  EXPECT_THAT(cgroup.error().detail, testing::HasSubstr("missing/tapdeck-run-"));
}

TEST_F(Cgroup, SaysWhatItTakesWhereItMayMakeNone) {
  ASSERT_EQ(::seteuid(65534), 0);
  const auto cgroup = RunCgroup::create_below(parent_);
  ASSERT_EQ(::seteuid(0), 0);
  ASSERT_FALSE(cgroup);
  EXPECT_THAT(with_next_step(cgroup.error()),
              testing::EndsWith("(needs CAP_DAC_OVERRIDE, or to be started in a cgroup that is delegated to this "
                                "user): Permission denied"));
}

}  // namespace
}  // namespace tapdeck::app
