#include "daemon/net/suspend.h"

#include <gtest/gtest.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <string>
#include <vector>

#include "daemon/net/task_group.h"

namespace tapdeck::net {
namespace {

// One who waits for a word, and whoever has it.
struct Desk {
  Task<std::string> wait() {
    return suspend<std::string>([this](Resume<std::string> resume) {
      waiting = std::move(resume);
      return [this] {
        asio::post(io, [this] {
          if (auto left = std::exchange(waiting, {})) left("cancelled");
        });
      };
    });
  }
  asio::io_context io{1};
  Resume<std::string> waiting;
};

TEST(Suspend, TheTaskGoesOnInsideTheCallThatWakesIt) {
  Desk desk;
  std::vector<std::string> heard;
  auto task = [&]() -> Task<> {
    for (int i = 0; i < 2; ++i) {
      auto word = co_await desk.wait();
      heard.push_back(word);
    }
  };
  asio::co_spawn(desk.io, task(), asio::detached);
  desk.io.poll();
  ASSERT_TRUE(desk.waiting);
  auto first = std::exchange(desk.waiting, {});
  first("one");
  EXPECT_EQ(heard, std::vector<std::string>{"one"});
  auto second = std::exchange(desk.waiting, {});
  ASSERT_TRUE(second) << "it waits again already";
  second("two");
  EXPECT_EQ(heard, (std::vector<std::string>{"one", "two"}));
}

TEST(Suspend, CancellingTheTaskEndsTheWait) {
  Desk desk;
  TaskGroup group(desk.io.get_executor());
  std::string heard;
  auto task = [&]() -> Task<> {
    auto word = co_await desk.wait();
    heard = word;
  };
  group.spawn(task());
  desk.io.poll();
  group.cancel();
  EXPECT_EQ(heard, "") << "not inside cancel()";
  desk.io.restart();
  desk.io.poll();
  EXPECT_EQ(heard, "cancelled");
  EXPECT_EQ(group.size(), 0U);
}

TEST(Suspend, AFunctionDestroyedUncalledEndsItsTask) {
  Desk desk;
  bool ended = false;
  struct AtEnd {
    bool& flag;
    ~AtEnd() { flag = true; }
  };
  auto task = [&]() -> Task<> {
    const AtEnd guard{ended};
    auto word = co_await desk.wait();
    ADD_FAILURE() << word;
  };
  asio::co_spawn(desk.io, task(), asio::detached);
  desk.io.poll();
  desk.waiting = {};
  desk.io.restart();
  desk.io.poll();
  EXPECT_TRUE(ended);
}

TEST(TaskGroup, UsesThePlaceOfAnEndedTaskAgainAndStillCancelsTheNewOne) {
  asio::io_context io(1);
  TaskGroup group(io.get_executor());
  int done = 0;
  auto quick = [&]() -> Task<> {
    ++done;
    co_return;
  };
  for (int i = 0; i < 10; ++i) {
    group.spawn(quick());
    io.restart();
    io.poll();
  }
  EXPECT_EQ(done, 10);
  EXPECT_EQ(group.size(), 0U);
  auto waiter = [&]() -> Task<> {
    Signal never(io.get_executor());
    co_await never.wait();
    ++done;
  };
  const auto id = group.spawn(waiter());
  group.spawn(waiter());
  io.restart();
  io.poll();
  EXPECT_EQ(group.size(), 2U);
  group.cancel(id);
  io.restart();
  io.poll();
  EXPECT_EQ(group.size(), 1U) << "only the one that was meant";
  group.cancel();
  io.restart();
  io.poll();
  EXPECT_EQ(done, 12);
}

}  // namespace
}  // namespace tapdeck::net
