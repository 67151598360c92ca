#include "daemon/kernel/netns.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace tapdeck::kernel {
namespace {

uint64_t own_netns() {
  struct stat info{};
  return ::stat("/proc/self/ns/net", &info) == 0 ? info.st_ino : 0;
}

TEST(Netns, OfAProcessWhoseMainThreadHasEndedIsThatOfAnother) {
  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    // The write end closes with the process; the byte says that the main thread is about to end.
    std::thread([] {
      while (true) ::pause();
    }).detach();
    static_cast<void>(::write(gate[1], "x", 1));
    ::syscall(SYS_exit, 0);
  }
  char byte = 0;
  ASSERT_EQ(::read(gate[0], &byte, 1), 1);
  struct stat info{};
  const std::string link = "/proc/" + std::to_string(pid) + "/ns/net";
  while (::stat(link.c_str(), &info) == 0) std::this_thread::yield();
  EXPECT_EQ(netns_inode_of(pid), own_netns());
  EXPECT_TRUE(open_netns_of(pid));
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  EXPECT_EQ(netns_inode_of(pid), 0U);
  EXPECT_FALSE(open_netns_of(pid));
  ::close(gate[0]);
  ::close(gate[1]);
}

}  // namespace
}  // namespace tapdeck::kernel
