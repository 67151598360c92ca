// A run that dies, played by a process of its own, with a real cgroup below one of this test's.
#include "daemon/app/run_guard.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "daemon/app/cgroup2.h"
#include "daemon/app/cgroup_tree.h"

namespace tapdeck::app {
namespace {

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Guard : public testing::Test {
 protected:
  void SetUp() override {
    const auto mount = find_cgroup2_mount();
    if (!mount || ::geteuid() != 0) GTEST_SKIP() << "needs root and a cgroup2 mount";
    cgroup_ = *mount + "/tapdeck-test-guard-" + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(cgroup_.c_str(), 0755), 0) << std::strerror(errno);
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // guards of the dead become ours to reap
  }
  void TearDown() override {
    if (cgroup_.empty()) return;
    kill_all_in(cgroup_, std::chrono::milliseconds(5000));
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
    EXPECT_TRUE(remove_cgroup(cgroup_));
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }
  // In the cgroup, deaf to all that can be ignored; its grandchild too.
  void start_command() const {
    const pid_t pid = ::fork();
    if (pid != 0) return;
    const int procs = ::open((cgroup_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
    if (::write(procs, "0", 1) != 1) ::_exit(1);
    ::execlp("sh", "sh", "-c", "trap '' TERM HUP INT; setsid sleep 1000 & exec sleep 1000", nullptr);
    ::_exit(1);
  }
  void wait_for_command() const {
    while (pids_in(cgroup_).size() < 2) ::sched_yield();
  }
  std::string cgroup_;
};

TEST_F(Guard, EndsTheCommandAndItsDescendantsWhenTheRunDies) {
  const pid_t run = ::fork();
  if (run == 0) {
    auto guard = RunGuard::start();
    if (!guard || !(*guard)->watch(cgroup_)) ::_exit(1);
    start_command();
    for (;;) ::pause();
  }
  wait_for_command();
  ::kill(run, SIGKILL);
  EXPECT_TRUE(wait_until_empty(cgroup_, std::chrono::seconds(10)));
}

TEST_F(Guard, EndsNobodyWhenItIsDismissed) {
  {
    auto guard = RunGuard::start();
    ASSERT_TRUE(guard) << guard.error().message();
    ASSERT_TRUE((*guard)->watch(cgroup_));
    start_command();
    wait_for_command();
    const pid_t pid = (*guard)->pid();
    ::kill(pid, SIGSTOP);  // even when it is stopped
    (*guard)->dismiss();
    EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1) << "reaped";
  }
  EXPECT_EQ(pids_in(cgroup_).size(), 2U);
}

TEST_F(Guard, KeepsNothingOfItsCallersAndHasItsOwnSessionAndName) {
  const int keepsake = ::open("/dev/null", O_RDONLY);
  auto guard = RunGuard::start();
  ASSERT_TRUE(guard) << guard.error().message();
  ASSERT_TRUE((*guard)->watch(cgroup_));
  const pid_t pid = (*guard)->pid();
  const std::string proc = "/proc/" + std::to_string(pid);
  std::vector<std::string> open;
  for (const auto& fd : std::filesystem::directory_iterator(proc + "/fd")) {
    open.push_back(std::filesystem::read_symlink(fd.path()).string());
  }
  EXPECT_THAT(open, testing::UnorderedElementsAre("/dev/null", "/dev/null", "/dev/null", testing::HasSubstr("socket")));
  EXPECT_EQ(::getsid(pid), pid);
  EXPECT_EQ(std::filesystem::read_symlink(proc + "/cwd"), "/");
  EXPECT_EQ(text_of(proc + "/comm"), "tapdeck-guard\n");
  EXPECT_STREQ(text_of(proc + "/cmdline").c_str(), "tapdeck-guard");
  EXPECT_THAT(text_of(proc + "/status"), testing::HasSubstr("SigBlk:\tfffffffe7ffbfeff\n"));
  ::close(keepsake);
}

TEST_F(Guard, LeavesWithARunThatDiesBeforeItsCommand) {
  const pid_t run = ::fork();
  if (run == 0) {
    auto guard = RunGuard::start();
    ::kill(::getpid(), SIGKILL);
  }
  ASSERT_EQ(::waitpid(run, nullptr, 0), run);
  int status = -1;
  EXPECT_GT(::waitpid(-1, &status, 0), 0) << "the guard, ours now";
  EXPECT_TRUE(WIFEXITED(status));
}

}  // namespace
}  // namespace tapdeck::app
