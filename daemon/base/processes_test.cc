#include "daemon/base/processes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "daemon/base/eventually.h"

namespace tapdeck {
namespace {

TEST(Processes, WeLiveAndHaveAStartTime) {
  EXPECT_TRUE(is_alive(::getpid()));
  EXPECT_GT(start_time(::getpid()), 0U);
  EXPECT_GE(start_time(::getpid()), start_time(::getppid()));
}

TEST(Processes, AZombieIsDeadAndSoIsWhatIsGone) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);  // ended, and not reaped
  EXPECT_EQ(::kill(child, 0), 0) << "the kernel still knows it";
  EXPECT_FALSE(is_alive(child));
  EXPECT_EQ(start_time(child), 0U);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(is_alive(child));
  EXPECT_EQ(start_time(child), 0U);
}

TEST(Processes, OneWhoseMainThreadAloneHasEndedLives) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::thread([] { ::pause(); }).detach();
    ::syscall(SYS_exit, 0);  // of this thread
  }
  const auto is_zombie = [&] {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string number, name, state;
    stat >> number >> name >> state;
    return state == "Z";
  };
  ASSERT_TRUE(eventually(is_zombie));
  EXPECT_TRUE(is_alive(child));
  EXPECT_GT(start_time(child), 0U);
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(start_time(child), 0U);
}

TEST(Processes, WhatIsHeldIsSoUntilItsHolderEnds) {
  char path[] = "/tmp/tapdeck-held-XXXXXX";
  const int file = ::mkstemp(path);
  ASSERT_GE(file, 0);
  ::close(file);
  EXPECT_FALSE(is_held(path));
  {
    const UniqueFd first = hold(path);
    EXPECT_TRUE(first);
    EXPECT_TRUE(is_held(path));
    EXPECT_FALSE(hold(path));
  }
  EXPECT_FALSE(is_held(path));
  ::unlink(path);
  EXPECT_FALSE(hold(path));
  EXPECT_FALSE(is_held(path));
}

TEST(Processes, WhatMayNotBeLookedAtCountsAsHeld) {
  const pid_t child = ::fork();
  if (child == 0) {
    while (::open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) {
    }
    ::_exit(is_held("/tmp") ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace tapdeck
