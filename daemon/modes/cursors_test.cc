#include "daemon/modes/cursors.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "daemon/modes/hot_cache.h"

namespace tapdeck::modes {
namespace {

CursorKey key_of(uint64_t tape, TargetSlot target, uint8_t byte) {
  CursorKey key{tape, target, {}};
  key.key.bytes.fill(byte);
  return key;
}

TEST(Cursors, BelongToTapeTargetAndKey) {
  Cursors cursors;
  const auto cursor = cursors.get(key_of(1, 1, 7));
  *cursor = 3;
  EXPECT_EQ(cursors.get(key_of(1, 1, 7)), cursor);
  EXPECT_EQ(*cursors.get(key_of(2, 1, 7)), 0U);
  EXPECT_EQ(*cursors.get(key_of(1, 2, 7)), 0U);
  EXPECT_EQ(*cursors.get(key_of(1, 1, 8)), 0U);
}

TEST(Cursors, RewindOfOneTargetLeavesTheOthersAndReachesHolders) {
  Cursors cursors;
  const auto one = cursors.get(key_of(1, 1, 7));
  const auto two = cursors.get(key_of(1, 2, 7));
  *one = *two = 5;
  cursors.rewind(1);
  EXPECT_EQ(*one, 0U);
  EXPECT_EQ(*two, 5U);
  cursors.rewind(Cursors::kAll);
  EXPECT_EQ(*two, 0U);
}

TEST(Cursors, CountEveryTurnOfManyThreads) {
  Cursors cursors;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) cursors.get(key_of(1, 1, 7))->fetch_add(1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(*cursors.get(key_of(1, 1, 7)), 4000U);
}

TEST(Pick, FollowsTheRepeatRule) {
  using enum config::Repeat;
  const std::vector<size_t> turns = {0, 1, 2, 3, 4};
  const auto picks = [&](config::Repeat repeat) {
    std::vector<size_t> out;
    for (const size_t turn : turns) out.push_back(pick(repeat, turn, 3));
    return out;
  };
  EXPECT_EQ(picks(InOrder), (std::vector<size_t>{0, 1, 2, 2, 2}));
  EXPECT_EQ(picks(Latest), (std::vector<size_t>{2, 2, 2, 2, 2}));
  EXPECT_EQ(picks(Cycle), (std::vector<size_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(picks(Once), (std::vector<size_t>{0, 1, 2, 3, 3})) << "3: none is left";
}

TEST(TakeTurn, UsesUpNoTurnWhereNoneIsLeft) {
  std::atomic<uint64_t> cursor{0};
  for (const size_t index : {0U, 1U, 2U, 2U}) EXPECT_EQ(take_turn(config::Repeat::Once, cursor, 2), index);
  EXPECT_EQ(cursor, 2U);
  EXPECT_EQ(take_turn(config::Repeat::Once, cursor, 3), 2U) << "the one that was recorded since";
  EXPECT_EQ(take_turn(config::Repeat::InOrder, cursor, 2), 1U);
  EXPECT_EQ(cursor, 4U);
}

TEST(Cursors, RewoundOnesThatNobodyHoldsAreForgotten) {
  Cursors cursors;
  for (uint8_t i = 0; i < 100; ++i) *cursors.get(key_of(1, 1, i)) = 3;
  const auto held = cursors.get(key_of(1, 1, 7));
  *cursors.get(key_of(1, 2, 7)) = 3;
  ASSERT_EQ(cursors.size(), 101U);
  cursors.rewind(1);
  EXPECT_EQ(cursors.size(), 2U) << "the one that is held, and the other target's";
  EXPECT_EQ(cursors.get(key_of(1, 1, 7)), held);
  EXPECT_EQ(*held, 0U);
  EXPECT_EQ(*cursors.get(key_of(1, 1, 8)), 0U);
  EXPECT_EQ(*cursors.get(key_of(1, 2, 7)), 3U);
}

TEST(Cursors, ThoseOfATapeThatIsOverAreForgottenAndStayWithTheirHolders) {
  Cursors cursors;
  for (uint8_t i = 0; i < 100; ++i) ignore(cursors.get(key_of(4, 1, i)), "is kept from now on");
  const auto held = cursors.get(key_of(4, 1, 7));
  *held = 3;
  *cursors.get(key_of(5, 1, 7)) = 1;
  *cursors.get(key_of(3, 2, 7)) = 2;
  cursors.forget(1, 4);
  EXPECT_EQ(cursors.size(), 2U);
  EXPECT_EQ(*held, 3U);
  EXPECT_EQ(*cursors.get(key_of(5, 1, 7)), 1U) << "of the next tape";
  EXPECT_EQ(*cursors.get(key_of(3, 2, 7)), 2U) << "of another target";
  EXPECT_NE(cursors.get(key_of(4, 1, 7)), held) << "a straggler begins anew";
  cursors.forget(1, 5);
  EXPECT_EQ(cursors.size(), 1U);
}

TEST(Cursors, AreTakenWhileTheyAreForgotten) {
  Cursors cursors;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) cursors.get(key_of(1, 1, 7))->fetch_add(1);
    });
  }
  for (int n = 0; n < 1000; ++n) n % 2 == 0 ? cursors.rewind(1) : cursors.forget(1, 1);
  for (std::thread& thread : threads) thread.join();
  cursors.rewind(Cursors::kAll);
  EXPECT_EQ(cursors.size(), 0U);
}

TEST(Cursors, ATurnThatIsGivenBackNeverWraps) {
  std::atomic<uint64_t> cursor{2};
  Cursors::give_back_turn(cursor);
  EXPECT_EQ(cursor, 1U);
  Cursors::give_back_turn(cursor);
  Cursors::give_back_turn(cursor);
  EXPECT_EQ(cursor, 0U);
}

}  // namespace
}  // namespace tapdeck::modes
