// A run that dies, played by a process of its own, with a real cgroup below one of this test's.
#include "daemon/app/run_guard.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "daemon/app/cgroup_tree.h"
#include "daemon/base/eventually.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {
namespace {

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Guard : public testing::Test {
 protected:
  void SetUp() override {
    const auto mount = kernel::find_cgroup2_mount();
    if (!mount || ::geteuid() != 0) GTEST_SKIP() << "needs root and a cgroup2 mount";
    cgroup_ = *mount + "/tapdeck-test-guard-" + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(cgroup_.c_str(), 0755), 0) << std::strerror(errno);
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // guards of the dead become ours to reap
  }
  void TearDown() override {
    if (cgroup_.empty()) return;
    EXPECT_TRUE(kill_all_in(cgroup_, std::chrono::milliseconds(5000)));
    EXPECT_TRUE(eventually([] { return ::waitpid(-1, nullptr, WNOHANG) < 0; })) << "a child stays";
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
    ASSERT_TRUE(eventually([&] { return pids_in(cgroup_).size() >= 2; }));
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
  EXPECT_EQ(wait_until_empty(cgroup_, std::chrono::seconds(10)), Population::Nobody);
  // Whoever cleans next may see it read-only.
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(cgroup_); }));
}

// Its descriptors would be 0, 1 or 2, and lines for standard error go into its socket.
TEST_F(Guard, TakesNothingThatIsWrittenForItsRunsDeath) {
  for (int closed = 0; closed < 8; ++closed) {
    int done[2];
    ASSERT_EQ(::pipe2(done, O_CLOEXEC), 0);
    const pid_t run = ::fork();
    if (run == 0) {
      const int report = ::fcntl(done[1], F_DUPFD_CLOEXEC, 10);
      for (const int fd : {0, 1, 2}) {
        if ((closed & (1 << fd)) != 0) ::close(fd);
      }
      auto guard = RunGuard::start();
      if (!guard || !(*guard)->watch(cgroup_)) ::_exit(1);
      const pid_t before = (*guard)->pid();
      for (const int fd : {0, 1, 2}) {
        if ((closed & (1 << fd)) != 0 && ::write(fd, "a line\n", 7) > 0) ::_exit(2);
      }
      start_command();
      if (::write(report, &before, sizeof before) != sizeof before) ::_exit(3);
      for (;;) ::pause();
    }
    ::close(done[1]);
    pid_t guard = 0;
    EXPECT_EQ(::read(done[0], &guard, sizeof guard), ssize_t{sizeof guard}) << closed;
    ::close(done[0]);
    wait_for_command();
    for (const char* fd : {"0", "1", "2"}) {
      const std::string link = "/proc/" + std::to_string(guard) + "/fd/" + fd;
      EXPECT_EQ(std::filesystem::read_symlink(link), "/dev/null") << closed;
    }
    EXPECT_EQ(pids_in(cgroup_).size(), 2U) << closed;
    ::kill(run, SIGKILL);
    ASSERT_TRUE(eventually([&] { return !std::filesystem::exists(cgroup_); })) << closed;
    ASSERT_EQ(::mkdir(cgroup_.c_str(), 0755), 0);
  }
}

TEST_F(Guard, OnlyTheEndOfItsSocketIsADeath) {
  const pid_t run = ::fork();
  if (run == 0) {
    auto guard = RunGuard::start();
    if (!guard || !(*guard)->watch(cgroup_)) ::_exit(1);
    // As a library of ours might that writes to a descriptor which it believes to be its own.
    for (int fd = 3; fd < 64; ++fd) ignore(::send(fd, "a line", 6, MSG_NOSIGNAL), "most are no sockets");
    start_command();
    for (;;) ::pause();
  }
  wait_for_command();
  EXPECT_EQ(wait_until_empty(cgroup_, std::chrono::milliseconds(200)), Population::Somebody);
  ::kill(run, SIGKILL);
  EXPECT_EQ(wait_until_empty(cgroup_, std::chrono::seconds(10)), Population::Nobody);
}

// Some sandboxes' filters know no close_range(): the guard must not keep the caller's descriptors, nor our end.
TEST_F(Guard, KnowsOfOurDeathWhereThereIsNoCloseRange) {
  const pid_t run = ::fork();
  if (run == 0) {
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{.len = std::size(filter), .filter = filter};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
      ::_exit(1);
    }
    auto guard = RunGuard::start();
    if (!guard || !(*guard)->watch(cgroup_)) ::_exit(1);
    size_t open = 0;
    for (const auto& fd : std::filesystem::directory_iterator("/proc/" + std::to_string((*guard)->pid()) + "/fd")) {
      open += fd.is_symlink() ? 1 : 0;
    }
    if (open != 4) ::_exit(2);
    start_command();
    for (;;) ::pause();
  }
  wait_for_command();
  ::kill(run, SIGKILL);
  EXPECT_EQ(wait_until_empty(cgroup_, std::chrono::seconds(10)), Population::Nobody);
}

TEST_F(Guard, ItsOwnDeathIsNoticed) {
  auto guard = RunGuard::start();
  ASSERT_TRUE(guard) << guard.error().message();
  EXPECT_FALSE((*guard)->has_died());
  ::kill((*guard)->pid(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return (*guard)->has_died(); }));
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
  EXPECT_EQ(text_of(proc + "/comm"), "td-run-guard\n");
  EXPECT_STREQ(text_of(proc + "/cmdline").c_str(), "td-run-guard");
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
