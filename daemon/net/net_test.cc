#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "daemon/base/test_descriptors.h"
#include "daemon/net/deadline.h"
#include "daemon/net/offload.h"
#include "daemon/net/stream.h"
#include "daemon/net/task_group.h"

namespace tapdeck::net {
namespace {

using namespace std::chrono_literals;

struct Pair {
  explicit Pair(asio::io_context& io) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    a = std::make_unique<Stream>(io.get_executor(), UniqueFd(fds[0]), Origin::Downstream);
    b = std::make_unique<Stream>(io.get_executor(), UniqueFd(fds[1]), Origin::Upstream);
  }
  std::unique_ptr<Stream> a, b;
};

template <class Body>
void run(asio::io_context& io, Body body) {
  bool finished = false;
  auto wrapper = [&]() -> Task<> {
    co_await body();
    finished = true;
  };
  asio::co_spawn(io, wrapper(), asio::detached);
  io.run_for(10s);
  EXPECT_TRUE(finished);
}

TEST(Stream, CarriesMoreThanTheSocketBufferAndReportsTheEnd) {
  asio::io_context io(1);
  Pair pair(io);
  const std::string sent(3'000'000, 'x');
  ByteQueue out;
  out.append(sent);
  TaskGroup group(io.get_executor());
  auto writer = [&]() -> Task<> {
    auto written = co_await pair.a->write_all(out);
    EXPECT_TRUE(written);
    pair.a->shutdown_send();
  };
  ByteQueue in;
  run(io, [&]() -> Task<> {
    group.spawn(writer());
    while (true) {
      auto n = co_await pair.b->read_some(in);
      if (!n || *n == 0) break;
    }
    co_await group.join();
  });
  EXPECT_EQ(in.size(), sent.size());
}

TEST(Stream, CloseEndsAPendingReadAsCancelled) {
  asio::io_context io(1);
  Pair pair(io);
  Deadline deadline(io.get_executor(), [&] { pair.b->close(); });
  run(io, [&]() -> Task<> {
    deadline.set(1ms);
    ByteQueue in;
    auto n = co_await pair.b->read_some(in);
    EXPECT_FALSE(n);
    EXPECT_EQ(n.error().code, Code::Cancelled);
    EXPECT_TRUE(deadline.is_expired());
  });
}

TEST(Stream, AnAbortedEndOfAPairIsAResetBehindWhatItWrote) {
  asio::io_context io(1);
  auto pair = Stream::make_pair(io.get_executor());
  ASSERT_TRUE(pair);
  ByteQueue out;
  out.append("last words");
  EXPECT_TRUE(pair->server->try_write(out));
  pair->server->abort();
  run(io, [&]() -> Task<> {
    ByteQueue in;
    auto n = co_await pair->client->read_some(in);
    EXPECT_TRUE(n);
    EXPECT_EQ(in.to_string(), "last words");
    auto end = co_await pair->client->read_some(in);
    EXPECT_FALSE(end);
    if (!end) EXPECT_EQ(end.error().code, Code::Reset);
  });
}

TEST(Stream, APairLeavesTheDescriptorsThatAreKeptForOthers) {
  asio::io_context io(1);
  const BoundDescriptors bounds({.serving = descriptor_after(1)});
  const auto refused = Stream::make_pair(io.get_executor());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sys_errno, EMFILE);
}

TEST(Stream, ADescriptorThatCannotBeWatchedIsClosed) {
  asio::io_context io(1);
  Pair pair(io);
  const int fd = pair.a->native_handle();
  {
    const Stream again(io.get_executor(), UniqueFd(fd), Origin::Downstream);  // watched already: the kernel refuses
    EXPECT_FALSE(again.is_open());
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1) << "left open by both";
  (void)pair.a->release().release();
}

TEST(Deadline, MovedLaterDoesNotFireEarlyAndClearedNever) {
  asio::io_context io(1);
  int fired = 0;
  Deadline moved(io.get_executor(), [&] { ++fired; });
  Deadline cleared(io.get_executor(), [&] { fired += 100; });
  moved.set(1ms);
  moved.set(20ms);
  cleared.set(1ms);
  cleared.clear();
  const auto start = std::chrono::steady_clock::now();
  io.run();
  EXPECT_EQ(fired, 1);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
}

TEST(Deadline, StoppedLetsTheLoopEnd) {
  asio::io_context io(1);
  Deadline deadline(io.get_executor(), [] { ADD_FAILURE() << "expired"; });
  deadline.set(1h);
  deadline.stop();
  io.run();  // for an hour, otherwise
  EXPECT_FALSE(deadline.is_expired());
}

TEST(TaskGroup, CancelEndsWaitersAndJoinSeesThemGone) {
  asio::io_context io(1);
  TaskGroup group(io.get_executor());
  int ended = 0;
  auto waiter = [&]() -> Task<> {
    Signal never(io.get_executor());
    co_await never.wait();
    ++ended;
  };
  run(io, [&]() -> Task<> {
    group.spawn(waiter());
    group.spawn(waiter());
    EXPECT_EQ(group.size(), 2U);
    group.cancel();
    co_await group.join();
  });
  EXPECT_EQ(ended, 2);
}

TEST(TaskGroup, JoinWaitsForThoseSpawnedMeanwhileToo) {
  asio::io_context io(1);
  TaskGroup group(io.get_executor());
  int ended = 0;
  std::function<Task<>(int)> after_turns = [&](int more) -> Task<> {
    co_await end_of_turn(io.get_executor());
    ++ended;
    // As soon as the group is empty, and before whoever joined it runs on.
    if (more > 0) asio::post(io, [&, more] { group.spawn(after_turns(more - 1)); });
  };
  run(io, [&]() -> Task<> {
    group.spawn(after_turns(0));
    group.spawn(after_turns(3));
    co_await group.join();
    EXPECT_EQ(group.size(), 0U);
  });
  EXPECT_EQ(ended, 5);
}

TEST(TaskGroupDeathTest, OneThatIsLeftWithItsTasksRunningEndsTheProcess) {
  asio::io_context io(1);
  Signal never(io.get_executor());
  auto waiter = [&]() -> Task<> { co_await never.wait(); };
  EXPECT_DEATH(
      {
        TaskGroup group(io.get_executor());
        group.spawn(waiter());
      },
      "a TaskGroup ended before its 1 task");
}

TEST(Offload, AnExceptionComesHome) {
  asio::io_context io(1);
  asio::thread_pool pool(1);
  std::string caught;
  run(io, [&]() -> Task<> {
    const auto here = std::this_thread::get_id();
    auto failing = []() -> int { throw std::runtime_error("no memory for it"); };
    try {
      co_await offload(pool, failing);
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    EXPECT_TRUE(std::this_thread::get_id() == here);
  });
  EXPECT_EQ(caught, "no memory for it");
  pool.join();
}

TEST(Offload, RunsElsewhereAndResumesHere) {
  asio::io_context io(1);
  asio::thread_pool pool(1);
  const auto here = std::this_thread::get_id();
  run(io, [&]() -> Task<> {
    auto there = [] { return std::this_thread::get_id(); };
    const auto id = co_await offload(pool, there);
    EXPECT_TRUE(id != here);
    EXPECT_TRUE(std::this_thread::get_id() == here);
  });
  pool.join();
}

}  // namespace
}  // namespace tapdeck::net
