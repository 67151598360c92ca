#include "daemon/modes/cursors.h"

#include <gtest/gtest.h>

#include <cstring>
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
  const auto picks = [](config::Repeat repeat, size_t last = 2) {
    std::vector<size_t> out;
    for (const size_t turn : {0U, 1U, 2U, 3U, 4U}) out.push_back(pick(repeat, turn, {3, last}));
    return out;
  };
  EXPECT_EQ(picks(InOrder), (std::vector<size_t>{0, 1, 2, 2, 2}));
  EXPECT_EQ(picks(Latest), (std::vector<size_t>{2, 2, 2, 2, 2}));
  EXPECT_EQ(picks(Cycle), (std::vector<size_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(picks(Once), (std::vector<size_t>{0, 1, 2, 3, 3})) << "3: none is left";
  EXPECT_EQ(picks(InOrder, 1), (std::vector<size_t>{0, 1, 2, 1, 1})) << "what was left at the end has one turn";
  EXPECT_EQ(picks(Latest, 1), (std::vector<size_t>{1, 1, 1, 1, 1}));
}

TEST(TakeTurn, UsesUpNoTurnWhereNoneIsLeft) {
  std::atomic<uint64_t> cursor{0};
  for (const size_t index : {0U, 1U, 2U, 2U}) EXPECT_EQ(take_turn(config::Repeat::Once, cursor, {2, 1}), index);
  EXPECT_EQ(cursor, 2U);
  EXPECT_EQ(take_turn(config::Repeat::Once, cursor, {3, 2}), 2U) << "the one that was recorded since";
  EXPECT_EQ(take_turn(config::Repeat::InOrder, cursor, {2, 1}), 1U);
  EXPECT_EQ(cursor, 4U);
}

TEST(TakeTurnAt, TakesOnlyTheTurnThatWasLookedAt) {
  using enum config::Repeat;
  for (const config::Repeat repeat : {InOrder, Cycle, Once}) {
    std::atomic<uint64_t> cursor{0};
    EXPECT_TRUE(take_turn_at(repeat, cursor, {3, 2}, 0));
    EXPECT_FALSE(take_turn_at(repeat, cursor, {3, 2}, 0)) << "another worker has it";
    EXPECT_EQ(cursor, 1U);
    cursor = 0;
    EXPECT_FALSE(take_turn_at(repeat, cursor, {3, 2}, 2)) << "rewound";
    EXPECT_EQ(cursor, 0U);
  }
  std::atomic<uint64_t> cursor{7};
  EXPECT_TRUE(take_turn_at(InOrder, cursor, {3, 2}, 5)) << "the last one answers again";
  EXPECT_TRUE(take_turn_at(Latest, cursor, {3, 2}, 0));
  EXPECT_EQ(cursor, 9U);
}

TEST(CursorKey, IsOfAnAddressWhereATargetIsManyClients) {
  const auto of = [](CapturePath path, const char* client) {
    exchange::CapturedFlow flow;
    flow.identity.target = 3;
    flow.path = path;
    flow.client = *Endpoint::parse(client);
    return cursor_key(1, flow, {});
  };
  using enum CapturePath;
  EXPECT_NE(of(Tc, "10.0.0.1:1000"), of(Tc, "10.0.0.2:1000"));
  EXPECT_NE(of(Tc, "[2001:db8::1]:1000"), of(Tc, "[2001:db8::2]:1000"));
  EXPECT_EQ(of(Tc, "10.0.0.1:1000"), of(Tc, "10.0.0.1:2000")) << "connections of one client";
  EXPECT_NE(CursorKeyHash()(of(Tc, "10.0.0.1:1")), CursorKeyHash()(of(Tc, "10.0.0.2:1")));
  EXPECT_NE(of(Explicit, "10.0.0.1:1000"), of(Explicit, "10.0.0.2:1000"));
  EXPECT_EQ(of(Explicit, "127.0.0.1:1000"), of(Explicit, "[::1]:1000")) << "this host is one";
  EXPECT_EQ(of(Cgroup, "10.0.0.1:1000"), of(Cgroup, "[2001:db8::1]:1000")) << "a container is one";
}

TEST(Cursors, OfAllClientsOfATargetAreRewound) {
  Cursors cursors;
  CursorKey one = key_of(1, 1, 7);
  CursorKey two = one;
  one.client = *Endpoint::parse("10.0.0.1");
  two.client = *Endpoint::parse("10.0.0.2");
  const auto first = cursors.get(one);
  const auto second = cursors.get(two);
  *first = *second = 2;
  cursors.rewind(1);
  EXPECT_EQ(*first, 0U);
  EXPECT_EQ(*second, 0U);
}

TEST(Cursors, AddressesWithoutNumberCountAsOneClient) {
  Cursors cursors;
  CursorKey key{1, 0, {}};
  for (uint32_t client = 1; client <= 500'000; ++client) {
    key.client.address = {};
    std::memcpy(key.client.address.data(), &client, sizeof client);
    if (cursors.get(key) == nullptr) FAIL();
  }
  EXPECT_LT(cursors.size(), 300'000U);
  const auto first = cursors.get(key);
  key.client.address[15] = 1;
  EXPECT_EQ(cursors.get(key), first);
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
