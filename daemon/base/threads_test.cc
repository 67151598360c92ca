#include "daemon/base/threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/base/no_threads.h"

namespace tapdeck {
namespace {

using testing::HasSubstr;

TEST(Threads, ARefusedThreadIsAnErrorThatSaysWhatToRaise) {
  const NoThreads none;
  const auto started = start_thread([] {});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Code::Exhausted);
  EXPECT_THAT(started.error().message(), HasSubstr("cannot start a thread: "));
  EXPECT_THAT(started.error().message(), HasSubstr("raise pids.max"));
}

TEST(Threads, RoomForThreadsIsKnownBeforeTheyAreNeeded) {
  EXPECT_EQ(threads_to_spare(3), 3U);
  EXPECT_TRUE(check_threads(3));
  const NoThreads none;
  EXPECT_EQ(threads_to_spare(3), 0U);
  const auto checked = check_threads(3);
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().message(), HasSubstr("3 are needed, 0 could be started"));
}

TEST(ThreadsDeathTest, ARefusedThreadThatNobodyExpectsEndsTheProcessWithALine) {
  const auto refused = [] {
    end_without_threads(125);
    const NoThreads none;
    [&]() noexcept { std::thread([] {}).join(); }();
  };
  EXPECT_EXIT(refused(), testing::ExitedWithCode(125), "tapdeck: cannot start a thread: .*; raise pids.max");
}

}  // namespace
}  // namespace tapdeck
