#include "daemon/modes/websocket_round.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

using Share = WebSocketRound::Share;

Heard heard_of(std::initializer_list<uint64_t> messages) {
  Heard heard;
  for (const uint64_t message : messages) heard.add(message);
  return heard;
}

TEST(WebSocketRound, WhatIsHeardIsASetOfTheFirstMessages) {
  const Heard some = heard_of({3, 1, 3, 2});
  EXPECT_EQ(some.size(), 3U);
  EXPECT_TRUE(some.contains(heard_of({2, 3})));
  EXPECT_TRUE(some.contains({}));
  EXPECT_FALSE(some.contains(heard_of({2, 4})));
  Heard many;
  for (uint64_t i = 0; i < 1000; ++i) many.add(i);
  EXPECT_TRUE(many.is_full());
  EXPECT_EQ(many.size(), 256U);
}

TEST(WebSocketRound, PartsAreClaimedInOrderAndThoseOfNoUseStayTaken) {
  WebSocketRound round;
  const auto first = round.join(), second = round.join();
  EXPECT_EQ(round.claim(first, 3), 0U);
  EXPECT_EQ(round.claim(first, 3), 1U) << "0 is no WebSocket";
  EXPECT_EQ(round.claim(second, 3), 2U);
  EXPECT_FALSE(round.claim(round.join(), 3));
  round.leave(first);
  EXPECT_EQ(round.claim(round.join(), 3), 1U);
}

TEST(WebSocketRound, WhoTakesAPartSwapsWithItsOwner) {
  WebSocketRound round;
  const auto first = round.join(), second = round.join();
  EXPECT_EQ(round.claim(first, 3), 0U);
  EXPECT_EQ(round.claim(second, 3), 1U);
  EXPECT_TRUE(round.confirm(second, 1, heard_of({7})));
  EXPECT_TRUE(round.take(first, 1, heard_of({7, 8}), Share::No));
  EXPECT_EQ(round.claim(round.join(), 3), 2U);
  EXPECT_FALSE(round.confirm(second, 1, heard_of({7, 8}))) << "the first has said the same";
  EXPECT_EQ(round.best_of(second, 0b101, heard_of({7, 8})), 0U);
}

TEST(WebSocketRound, WhereNothingElseIsLeftOneIsSharedAndTheOtherBecomesFree) {
  WebSocketRound round;
  const auto first = round.join(), second = round.join();
  EXPECT_EQ(round.claim(first, 3), 0U);
  EXPECT_EQ(round.claim(second, 3), 1U);
  EXPECT_TRUE(round.confirm(second, 1, heard_of({7})));
  EXPECT_FALSE(round.best_of(first, 0b010, heard_of({7})));
  EXPECT_FALSE(round.take(first, 1, heard_of({7}), Share::No));
  EXPECT_TRUE(round.take(first, 1, heard_of({7}), Share::Yes));
  EXPECT_TRUE(round.confirm(first, 1, heard_of({7})));
  EXPECT_EQ(round.claim(round.join(), 3), 0U);
}

TEST(WebSocketRound, TheOneWhoseOwnerSaidLeastIsTheBest) {
  WebSocketRound round;
  const auto first = round.join(), second = round.join(), third = round.join();
  for (const auto player : {first, second}) EXPECT_TRUE(round.claim(player, 3));
  EXPECT_TRUE(round.confirm(first, 0, heard_of({7, 8})));
  EXPECT_TRUE(round.confirm(second, 1, heard_of({7})));
  EXPECT_EQ(round.best_of(third, 0b111, heard_of({7, 9})), 2U);
  EXPECT_EQ(round.best_of(third, 0b011, heard_of({7, 9})), 1U);
  EXPECT_FALSE(round.best_of(third, 0b001, heard_of({7, 8})));
}

TEST(WebSocketRound, TheNextRoundIsMadeOnce) {
  WebSocketRounds rounds;
  const auto first = rounds.current(0);
  EXPECT_EQ(rounds.current(0), first);
  EXPECT_NE(rounds.current(1), first);
  const auto next = rounds.after(0, first);
  EXPECT_NE(next, first);
  EXPECT_EQ(rounds.after(0, first), next);
  EXPECT_EQ(rounds.current(0), next);
}

}  // namespace
}  // namespace tapdeck::modes
