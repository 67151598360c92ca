// Real cgroups, all below one `tapdeck-test-PID` of this process's own.
#include "daemon/app/run_cgroup.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>

#include "daemon/app/cgroup2.h"
#include "daemon/app/cgroup_tree.h"
#include "daemon/app/child.h"
#include "daemon/base/processes.h"

namespace tapdeck::app {
namespace {

using std::chrono::milliseconds;

class Cgroup : public testing::Test {
 protected:
  void SetUp() override {
    const auto mount = find_cgroup2_mount();
    if (!mount || ::geteuid() != 0) GTEST_SKIP() << "needs root and a cgroup2 mount";
    parent_ = *mount + "/tapdeck-test-" + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(parent_.c_str(), 0755), 0) << std::strerror(errno);
  }
  void TearDown() override {
    if (!parent_.empty()) ::rmdir(parent_.c_str());
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
  EXPECT_EQ(remove_stale_run_cgroups(parent_), 1U);
  EXPECT_FALSE(std::filesystem::exists(stale));
  EXPECT_TRUE(std::filesystem::exists(living));
  EXPECT_TRUE(std::filesystem::exists(other));
  ::rmdir(living.c_str());
  ::rmdir(other.c_str());
}

// A process that sleeps in `cgroup`.
pid_t sleep_in(const std::string& cgroup) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const UniqueFd procs(::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (::write(procs.get(), "0", 1) == 1) ::execlp("sleep", "sleep", "1000", nullptr);
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
  while (pids_in(stale).size() < 2) ::sched_yield();
  testing::internal::CaptureStderr();
  EXPECT_EQ(remove_stale_run_cgroups(parent_), 1U);
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
  while (pids_in(elsewhere).empty()) ::sched_yield();
  {
    const UniqueFd held = hold(elsewhere);
    ASSERT_TRUE(held);
    EXPECT_EQ(remove_stale_run_cgroups(parent_), 0U);
    const auto removed = remove_dead_run_cgroup(elsewhere);
    EXPECT_TRUE(!removed && removed.error().code == Code::Busy);
    EXPECT_THAT(pids_in(elsewhere), testing::ElementsAre(pid));
  }
  EXPECT_EQ(remove_stale_run_cgroups(parent_), 1U);
  ::waitpid(pid, nullptr, 0);
}

TEST_F(Cgroup, IsHeldAsLongAsTheRunLives) {
  auto cgroup = RunCgroup::create_below(parent_);
  ASSERT_TRUE(cgroup) << cgroup.error().message();
  EXPECT_TRUE(is_held((*cgroup)->path()));
}

TEST_F(Cgroup, OnlyTheCgroupOfARunIsEverEmptied) {
  const pid_t pid = sleep_in(parent_);
  while (pids_in(parent_).empty()) ::sched_yield();
  const auto removed = remove_dead_run_cgroup(parent_);
  EXPECT_TRUE(!removed && removed.error().code == Code::Busy);
  EXPECT_THAT(pids_in(parent_), testing::ElementsAre(pid));
  EXPECT_TRUE(remove_dead_run_cgroup(parent_ + "/missing"));
  EXPECT_TRUE(kill_all_in(parent_, milliseconds(5000)));
  ::waitpid(pid, nullptr, 0);
}

TEST_F(Cgroup, NamesTheCgroupItCannotMake) {
  const auto cgroup = RunCgroup::create_below(parent_ + "/missing");
  ASSERT_FALSE(cgroup);
  EXPECT_THAT(cgroup.error().detail, testing::HasSubstr("missing/tapdeck-run-"));
}

}  // namespace
}  // namespace tapdeck::app
