#include "daemon/modes/websocket_casting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>

namespace tapdeck::modes {
namespace {

using Among = WebSocketCasting::Among;
using config::Repeat;
using ::testing::ElementsAre;

constexpr uint64_t kInit = 100;  // a message that all recordings have

// The connections to one URL that has been recorded `count` times; recording n has the id n, and the message n.
class WebSocketCastingTest : public ::testing::Test {
 protected:
  WebSocketCasting connection(size_t turn, Repeat repeat = Repeat::InOrder, uint64_t count = 3) {
    std::vector<uint64_t> ids(count);
    std::iota(ids.begin(), ids.end(), 0);
    return {"session", ids, turn, repeat, cursors_, {1, 0, {}}};
  }
  static std::vector<uint64_t> others(WebSocketCasting& casting, Among among) {
    std::vector<uint64_t> out;
    while (const auto id = casting.next(among)) out.push_back(*id);
    return out;
  }
  static bool says_what_it_plays(WebSocketCasting& casting, uint64_t message) {
    casting.hear(message);
    return casting.confirm();
  }
  // The client says what only recording `wanted` has, which is not the one that plays. False: it cannot have that.
  static bool say(WebSocketCasting& casting, uint64_t wanted) {
    casting.hear(wanted);
    while (const auto id = casting.next(Among::All)) {
      if (*id == wanted && casting.take()) return true;
    }
    casting.give_back();
    return false;
  }
  Cursors cursors_;
};

TEST_F(WebSocketCastingTest, EachBeginsWithItsTurnAndConfirmsIt) {
  for (size_t turn = 0; turn < 3; ++turn) {
    WebSocketCasting casting = connection(turn);
    EXPECT_FALSE(casting.begin());
    EXPECT_TRUE(says_what_it_plays(casting, turn));
  }
  WebSocketCasting last = connection(2);
  EXPECT_FALSE(last.begin()) << "the last one repeats";
  EXPECT_TRUE(says_what_it_plays(last, 2));
}

TEST_F(WebSocketCastingTest, WhatAnotherTookIsLeftAndWhatItLeftIsTaken) {
  WebSocketCasting first = connection(0);
  EXPECT_FALSE(first.begin());
  EXPECT_TRUE(say(first, 1));
  WebSocketCasting second = connection(1);
  EXPECT_EQ(second.begin(), 0U);
  EXPECT_TRUE(says_what_it_plays(second, 0));
  WebSocketCasting third = connection(2);
  EXPECT_FALSE(third.begin());
}

TEST_F(WebSocketCastingTest, ConnectionsThatAreOpenTogetherMayTakeEachOthers) {
  WebSocketCasting first = connection(0), second = connection(1);
  EXPECT_FALSE(first.begin());
  EXPECT_FALSE(second.begin());
  EXPECT_TRUE(say(first, 1));
  EXPECT_FALSE(says_what_it_plays(second, 1)) << "its client said the same as the first's";
  EXPECT_EQ(second.next(Among::Free), 0U);
  EXPECT_EQ(second.next(Among::Free), 2U);
  EXPECT_TRUE(second.take());
  EXPECT_TRUE(second.confirm());
  EXPECT_EQ(connection(2).begin(), 0U);
}

TEST_F(WebSocketCastingTest, AMessageThatAllHaveKeepsNoneFromItsOwn) {
  for (const Repeat repeat : {Repeat::InOrder, Repeat::Cycle, Repeat::Once, Repeat::Latest}) {
    cursors_.rewind(Cursors::kAll);
    const bool latest = repeat == Repeat::Latest;
    WebSocketCasting x = connection(latest ? 1 : 0, repeat, 2), y = connection(1, repeat, 2);
    EXPECT_FALSE(x.begin());
    EXPECT_FALSE(y.begin());
    EXPECT_TRUE(says_what_it_plays(x, kInit));
    EXPECT_TRUE(says_what_it_plays(y, kInit));
    EXPECT_TRUE(latest ? says_what_it_plays(x, 1) : say(x, 1));
    EXPECT_TRUE(say(y, 0));
  }
}

TEST_F(WebSocketCastingTest, OnceIsOnce) {
  WebSocketCasting first = connection(0, Repeat::Once), second = connection(1, Repeat::Once);
  EXPECT_FALSE(first.begin());
  EXPECT_FALSE(second.begin());
  second.hear(0);
  EXPECT_EQ(second.next(Among::All), 0U);
  EXPECT_TRUE(says_what_it_plays(first, 0));
  EXPECT_FALSE(second.take());
  EXPECT_THAT(others(second, Among::All), ElementsAre(2));
}

TEST_F(WebSocketCastingTest, WhatAConnectionHadThatFailedIsForTheOthers) {
  WebSocketCasting first = connection(0, Repeat::Once), second = connection(1, Repeat::Once);
  EXPECT_FALSE(first.begin());
  EXPECT_FALSE(second.begin());
  EXPECT_TRUE(says_what_it_plays(first, 0));
  EXPECT_TRUE(says_what_it_plays(second, 1));
  EXPECT_FALSE(say(second, 55)) << "no recording has that";
  EXPECT_EQ(connection(2, Repeat::Once).begin(), 1U);
}

TEST_F(WebSocketCastingTest, WhoVanishedBeforeItSaidWhatItWantedKeepsNoneFromItsOwn) {
  {
    WebSocketCasting gone = connection(0, Repeat::Once, 2);
    EXPECT_FALSE(gone.begin());
    EXPECT_TRUE(says_what_it_plays(gone, kInit));
  }
  WebSocketCasting casting = connection(1, Repeat::Once, 2);
  EXPECT_FALSE(casting.begin());
  EXPECT_TRUE(says_what_it_plays(casting, kInit));
  EXPECT_TRUE(say(casting, 0));
}

TEST_F(WebSocketCastingTest, WhatOthersPlayOnIsNotFreeWhenOneLeavesIt) {
  WebSocketCasting x = connection(0, Repeat::InOrder, 4), y = connection(1, Repeat::InOrder, 4);
  EXPECT_FALSE(x.begin());
  EXPECT_FALSE(y.begin());
  EXPECT_TRUE(says_what_it_plays(y, kInit));
  EXPECT_TRUE(says_what_it_plays(x, kInit));
  EXPECT_TRUE(say(x, 1));
  EXPECT_EQ(connection(2, Repeat::InOrder, 4).begin(), std::nullopt) << "its turn: what x left is for y";
  EXPECT_TRUE(say(y, 0));
  EXPECT_EQ(connection(3, Repeat::InOrder, 4).begin(), std::nullopt);
}

TEST_F(WebSocketCastingTest, ACycleBeginsAnewWhenAllHaveHadTheirTurn) {
  for (int round = 0; round < 2; ++round) {
    WebSocketCasting first = connection(0, Repeat::Cycle);
    EXPECT_FALSE(first.begin());
    EXPECT_TRUE(say(first, 2));
    EXPECT_EQ(connection(1, Repeat::Cycle).begin(), 0U);
    EXPECT_EQ(connection(2, Repeat::Cycle).begin(), 1U);
  }
}

TEST_F(WebSocketCastingTest, TheLatestIsForAllAndTheNewestBeforeTheOlder) {
  WebSocketCasting first = connection(2, Repeat::Latest), second = connection(2, Repeat::Latest);
  EXPECT_FALSE(first.begin());
  EXPECT_FALSE(second.begin());
  EXPECT_TRUE(says_what_it_plays(first, 2));
  EXPECT_TRUE(says_what_it_plays(second, 2));
  EXPECT_THAT(others(first, Among::All), ElementsAre(1, 0));
}

TEST_F(WebSocketCastingTest, RewindingBeginsAnew) {
  WebSocketCasting first = connection(0);
  EXPECT_FALSE(first.begin());
  EXPECT_TRUE(say(first, 1));
  cursors_.rewind(0);
  EXPECT_FALSE(connection(0).begin());
  EXPECT_FALSE(connection(1).begin());
  EXPECT_TRUE(say(first, 2)) << "who had begun goes on";
  EXPECT_FALSE(connection(2).begin());
}

TEST_F(WebSocketCastingTest, OfManyThoseAroundTheTurnAreLookedAt) {
  WebSocketCasting casting = connection(33, Repeat::InOrder, 40);
  EXPECT_EQ(casting.begin(), 32U);
  EXPECT_THAT(others(casting, Among::All), ElementsAre(33, 34, 35, 36, 37, 38, 39));
  EXPECT_FALSE(connection(0, Repeat::InOrder, 40).begin()) << "another block";
  WebSocketCasting whole = connection(5, Repeat::InOrder, 32);
  EXPECT_EQ(whole.begin(), 1U);
  EXPECT_EQ(others(whole, Among::All).size(), 31U);
}

// What a client says; in any order it is the same recording.
using Talk = std::vector<uint64_t>;

struct Client {
  WebSocketCasting casting;
  Talk wanted;
  size_t plays = 0;
  size_t said = 0;

  [[nodiscard]] bool agrees(const Talk& recording) const {
    return std::all_of(wanted.begin(), wanted.begin() + static_cast<ptrdiff_t>(said),
                       [&](uint64_t message) { return std::ranges::find(recording, message) != recording.end(); });
  }
  [[nodiscard]] bool is_done() const { return said == wanted.size(); }
  // Its next message, as the player takes it. False: a mismatch.
  bool say_next(const std::vector<Talk>& recordings) {
    casting.hear(wanted[said++]);
    const bool wrong = !agrees(recordings[plays]);
    if (!wrong && casting.confirm()) return true;
    while (const auto id = casting.next(wrong ? Among::All : Among::Free)) {
      if (!agrees(recordings[*id]) || !casting.take()) continue;
      plays = *id;
      return true;
    }
    return !wrong;
  }
};

std::vector<Talk> recordings_that_begin_alike(std::mt19937& random) {
  std::vector<Talk> out;
  const size_t count = 2 + random() % 5;
  while (out.size() < count) {
    const uint64_t one = random() % 4, other = random() % 4;
    const Talk talk = {kInit, std::min(one, other), std::max(one, other)};
    if (one != other && std::ranges::find(out, talk) == out.end()) out.push_back(talk);
  }
  return out;
}

// Opens clients one by one while those that are open speak, until all have said what they want.
void let_speak(std::vector<Client>& clients, const std::vector<Talk>& recordings, std::mt19937& random) {
  size_t open = 0;
  while (!std::ranges::all_of(clients, &Client::is_done)) {
    const size_t who = random() % std::min(open + 1, clients.size());
    Client& client = clients[who];
    if (who == open) {
      client.plays = client.casting.begin().value_or(who % recordings.size());
      ++open;
    } else if (!client.is_done()) {
      ASSERT_TRUE(client.say_next(recordings)) << "client " << who << ", message " << client.said;
    }
  }
}

TEST_F(WebSocketCastingTest, InWhateverOrderClientsSpeakEachRecordingIsPlayedOnceARound) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same each time
  for (int run = 0; run < 3000; ++run) {
    const Repeat repeat = std::array{Repeat::InOrder, Repeat::Cycle, Repeat::Once}[static_cast<size_t>(run % 3)];
    cursors_.rewind(Cursors::kAll);
    const std::vector<Talk> recordings = recordings_that_begin_alike(random);
    const size_t rounds = repeat == Repeat::Cycle ? 2 : 1;
    std::vector<Client> clients;
    for (size_t round = 0; round < rounds; ++round) {
      std::vector<Talk> wanted = recordings;
      std::ranges::shuffle(wanted, random);
      for (size_t i = 0; i < wanted.size(); ++i) {
        std::ranges::shuffle(wanted[i], random);
        clients.push_back({connection(i, repeat, wanted.size()), wanted[i]});
      }
    }
    let_speak(clients, recordings, random);
    std::vector<size_t> played(recordings.size());
    for (const Client& client : clients) ++played[client.plays];
    for (const size_t times : played) ASSERT_EQ(times, rounds) << "run " << run;
    ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "run " << run;
  }
}

}  // namespace
}  // namespace tapdeck::modes
