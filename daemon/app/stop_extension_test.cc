#include "daemon/app/stop_extension.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "daemon/base/no_threads.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {
namespace {

using namespace std::chrono_literals;

class StopExtensionTest : public testing::Test {
 protected:
  void SetUp() override {
    notify_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    ASSERT_EQ(::bind(notify_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval patience{.tv_sec = 30, .tv_usec = 0};
    ::setsockopt(notify_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("NOTIFY_SOCKET");
    std::filesystem::remove(path_);
  }
  std::string message(int flags = 0) {
    char buffer[256];
    const ssize_t n = ::recv(notify_.get(), buffer, sizeof buffer, flags);
    return n < 0 ? "" : std::string(buffer, static_cast<size_t>(n));
  }
  std::string path_ = "/tmp/tapdeck-extend-" + std::to_string(::getpid());
  UniqueFd notify_;
};

TEST_F(StopExtensionTest, AsksAgainAndAgainWhileItLives) {
  const StopExtension stop(1h, 1ms, 2s);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(message(), "EXTEND_TIMEOUT_USEC=2000000");
}

TEST_F(StopExtensionTest, ThatWhichHangsIsNotHeldForEver) {
  {
    const StopExtension stop(0ms, 1ms, 2s);
  }
  EXPECT_EQ(message(MSG_DONTWAIT), "EXTEND_TIMEOUT_USEC=2000000");
  EXPECT_EQ(message(MSG_DONTWAIT), "") << "the limit was over";
}

TEST_F(StopExtensionTest, WithoutAThreadItIsToldOnceForAllOfTheTime) {
  {
    const NoThreads none;
    const StopExtension stop(3s, 1ms, 2s);
  }
  EXPECT_EQ(message(MSG_DONTWAIT), "EXTEND_TIMEOUT_USEC=5000000");
  EXPECT_EQ(message(MSG_DONTWAIT), "");
}

}  // namespace
}  // namespace tapdeck::app
