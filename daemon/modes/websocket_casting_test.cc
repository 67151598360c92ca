#include "daemon/modes/websocket_casting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

using Among = WebSocketCasting::Among;
using ::testing::ElementsAre;

// The connections to one URL that has been recorded `count` times; recording n has the id n.
class WebSocketCastingTest : public ::testing::Test {
 protected:
  WebSocketCasting connection(size_t turn, config::Repeat repeat = config::Repeat::InOrder, uint64_t count = 3) {
    std::vector<uint64_t> ids(count);
    for (uint64_t i = 0; i < count; ++i) ids[i] = i;
    return {"session", ids, turn, repeat, cursors_, {1, 0, {}}};
  }
  static std::vector<uint64_t> others(WebSocketCasting& casting, Among among) {
    std::vector<uint64_t> out;
    while (const auto id = casting.next(among)) out.push_back(*id);
    return out;
  }
  // The client says what recording `wanted` has.
  static void say(WebSocketCasting& casting, uint64_t wanted) {
    while (casting.next(Among::All) != wanted) {
    }
    EXPECT_TRUE(casting.take());
  }
  Cursors cursors_;
};

TEST_F(WebSocketCastingTest, EachBeginsWithItsTurnAndConfirmsIt) {
  for (size_t turn = 0; turn < 3; ++turn) {
    WebSocketCasting casting = connection(turn);
    EXPECT_FALSE(casting.begin());
    EXPECT_TRUE(casting.confirm());
  }
  WebSocketCasting last = connection(2);
  EXPECT_FALSE(last.begin()) << "the last one repeats";
  EXPECT_TRUE(last.confirm());
  EXPECT_THAT(others(last, Among::All), ElementsAre(1, 0)) << "as the last of what agrees does";
}

TEST_F(WebSocketCastingTest, WhatAnotherTookIsLeftAndWhatItLeftIsTaken) {
  WebSocketCasting first = connection(0);
  EXPECT_FALSE(first.begin());
  say(first, 1);
  WebSocketCasting second = connection(1);
  EXPECT_EQ(second.begin(), 0U);
  EXPECT_TRUE(second.confirm());
  WebSocketCasting third = connection(2);
  EXPECT_FALSE(third.begin());
  EXPECT_THAT(others(third, Among::Unconfirmed), ElementsAre());
}

TEST_F(WebSocketCastingTest, ConnectionsThatAreOpenTogetherMayTakeEachOthers) {
  WebSocketCasting first = connection(0), second = connection(1);
  EXPECT_FALSE(first.begin());
  EXPECT_FALSE(second.begin());
  say(first, 1);
  EXPECT_FALSE(second.confirm()) << "its client said the same as the first's";
  EXPECT_EQ(second.next(Among::Unconfirmed), 0U);
  EXPECT_EQ(second.next(Among::Unconfirmed), 2U);
  EXPECT_TRUE(second.take());
  EXPECT_TRUE(second.confirm());
  EXPECT_EQ(connection(2).begin(), 0U);
}

TEST_F(WebSocketCastingTest, OnceIsOnce) {
  WebSocketCasting first = connection(0, config::Repeat::Once), second = connection(1, config::Repeat::Once);
  EXPECT_FALSE(first.begin());
  EXPECT_FALSE(second.begin());
  EXPECT_EQ(second.next(Among::All), 0U);
  EXPECT_TRUE(first.confirm());
  EXPECT_FALSE(second.take());
  EXPECT_THAT(others(second, Among::All), ElementsAre(2));
}

TEST_F(WebSocketCastingTest, ACycleBeginsAnewWhenAllHaveHadTheirTurn) {
  for (int round = 0; round < 2; ++round) {
    WebSocketCasting first = connection(0, config::Repeat::Cycle);
    EXPECT_FALSE(first.begin());
    say(first, 2);
    EXPECT_EQ(connection(1, config::Repeat::Cycle).begin(), 0U);
    EXPECT_EQ(connection(2, config::Repeat::Cycle).begin(), 1U);
  }
}

TEST_F(WebSocketCastingTest, TheLatestIsForAllAndTheNewestBeforeTheOlder) {
  WebSocketCasting first = connection(2, config::Repeat::Latest), second = connection(2, config::Repeat::Latest);
  EXPECT_FALSE(first.begin());
  EXPECT_FALSE(second.begin());
  EXPECT_TRUE(first.confirm());
  EXPECT_TRUE(second.confirm());
  EXPECT_THAT(others(first, Among::All), ElementsAre(1, 0));
}

TEST_F(WebSocketCastingTest, RewindingBeginsAnew) {
  WebSocketCasting first = connection(0);
  EXPECT_FALSE(first.begin());
  say(first, 1);
  cursors_.rewind(0);
  EXPECT_FALSE(connection(0).begin());
  EXPECT_FALSE(connection(1).begin());
}

TEST_F(WebSocketCastingTest, OfManyThoseAroundTheTurnAreLookedAt) {
  WebSocketCasting casting = connection(33, config::Repeat::InOrder, 40);
  EXPECT_EQ(casting.begin(), 32U);
  EXPECT_THAT(others(casting, Among::All), ElementsAre(33, 34, 35, 36, 37, 38, 39));
  EXPECT_FALSE(connection(0, config::Repeat::InOrder, 40).begin()) << "another block";
}

}  // namespace
}  // namespace tapdeck::modes
