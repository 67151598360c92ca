#include "daemon/app/fd_message.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

namespace tapdeck::app {
namespace {

struct Pair {
  UniqueFd a, b;
  Pair() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    a = UniqueFd(ends[0]);
    b = UniqueFd(ends[1]);
  }
};

ino_t inode_of(int fd) {
  struct stat info{};
  EXPECT_EQ(::fstat(fd, &info), 0);
  return info.st_ino;
}

TEST(FdMessage, CarriesTextAndTheVeryDescriptors) {
  Pair pair;
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const UniqueFd reader(pipe_ends[0]), writer(pipe_ends[1]);
  ASSERT_TRUE(send_message(pair.a.get(), "two", std::array{reader.get(), writer.get()}));
  const auto got = receive_message(pair.b.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->text, "two");
  ASSERT_EQ(got->fds.size(), 2U);
  EXPECT_EQ(inode_of(got->fds[0].get()), inode_of(reader.get()));
  ASSERT_EQ(::write(got->fds[1].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 1);
}

TEST(FdMessage, IsEmptyWhenTheOtherEndIsClosed) {
  Pair pair;
  pair.a.reset();
  const auto got = receive_message(pair.b.get());
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->text.empty());
}

TEST(FdMessage, RefusesWhatDoesNotFit) {
  Pair pair;
  EXPECT_EQ(send_message(pair.a.get(), "").error().code, Code::InvalidArgument);
  EXPECT_EQ(send_message(pair.a.get(), std::string(kLongestMessage + 1, 'x')).error().code, Code::InvalidArgument);
  const std::vector<int> many(kMostDescriptors + 1, 0);
  EXPECT_EQ(send_message(pair.a.get(), "x", many).error().code, Code::InvalidArgument);
}

TEST(FdMessage, TellsThatNothingCameInTime) {
  Pair pair;
  const timeval soon{0, 10000};
  ASSERT_EQ(::setsockopt(pair.b.get(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
  EXPECT_EQ(receive_message(pair.b.get()).error().code, Code::Timeout);
}

}  // namespace
}  // namespace tapdeck::app
