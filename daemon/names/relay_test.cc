#include "daemon/names/relay.h"

#include <gmock/gmock.h>

#include <map>

#include "daemon/base/result.h"
#include "daemon/names/datagrams.h"
#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class RelayTest : public testing::Test {
 protected:
  void ask(Relay& relay, unsigned id, const Relay::Wait& wait = {1h, std::nullopt}) {
    const std::string datagram = query_of(id, "api.example", kA);
    relay.ask(asked_to_resolver(*read_query(datagram)), datagram, wait);
  }
  Asked asked_to_resolver(std::optional<Query> query) {
    Asked asked;
    asked.asker.resolver = *Endpoint::parse("127.0.0.1", resolver_.port());
    asked.query = std::move(query);
    return asked;
  }
  // One turn of its owner's loop.
  void turn() {
    std::vector<pollfd> polled;
    relay_.add_to(polled);
    ASSERT_GE(::poll(polled.data(), polled.size(), relay_.wait_ms()), 0);
    relay_.look(polled);
    relay_.give_up_late_ones();
  }

  LoopbackUdp resolver_{"127.0.0.1"};
  std::vector<std::string> ended_;
  Relay::Ended note_ = [this](const Asked& asked, Relay::End end, std::string_view reply) {
    static const std::map<Relay::End, std::string> kHow = {
        {Relay::End::NotYet, "not yet"}, {Relay::End::Answered, "answered "},  {Relay::End::Unreachable, "unreachable"},
        {Relay::End::Silent, "silent"},  {Relay::End::Displaced, "displaced"}, {Relay::End::NotAsked, "not asked"}};
    ended_.push_back(std::to_string(asked.query ? asked.query->id : 0) + " " + kHow.at(end) + std::string(reply));
  };
  Connect connect_ = [](const Asker& asker) { return connected_to(asker.resolver); };
  Relay relay_{connect_, note_};
};

TEST_F(RelayTest, AnAnswerIsHandedOverAsItIs) {
  ask(relay_, 7);
  const std::string asked = resolver_.hear();
  EXPECT_EQ(asked, query_of(7, "api.example", kA));
  const std::string reply = reply_to(asked, 0x8380, 3, "cut");
  resolver_.answer(reply);
  turn();
  EXPECT_THAT(ended_, ElementsAre("7 answered " + reply));
  EXPECT_EQ(relay_.wait_ms(), -1) << "nobody waits any more";
}

TEST_F(RelayTest, OtherAnswersAreNotTaken) {
  ask(relay_, 7);
  const std::string asked = resolver_.hear();
  resolver_.answer(reply_to(query_of(8, "api.example", kA), 0x8180));
  turn();
  EXPECT_THAT(ended_, IsEmpty());
  resolver_.answer(asked);
  resolver_.answer(reply_to(query_of(7, "other.example", kA), 0x8180));
  resolver_.answer(reply_to(asked, 0x8183));
  turn();
  EXPECT_THAT(ended_, ElementsAre("7 answered " + reply_to(asked, 0x8183)));
}

TEST_F(RelayTest, WhatIsNoQueryIsAnsweredByTheNextDatagram) {
  relay_.ask(asked_to_resolver(std::nullopt), "no dns", {1h, std::nullopt});
  EXPECT_EQ(resolver_.hear(), "no dns");
  resolver_.answer("nor this");
  turn();
  EXPECT_THAT(ended_, ElementsAre("0 answered nor this"));
}

TEST_F(RelayTest, AResolverThatIsNotThereIsUnreachable) {
  ignore(resolver_.take(), "closed");
  ask(relay_, 7);
  turn();
  EXPECT_THAT(ended_, ElementsAre("7 unreachable"));
}

TEST_F(RelayTest, WithoutASocketNobodyIsAsked) {
  Code code = Code::Exhausted;
  Relay relay([&code](const Asker&) -> Result<UniqueFd> { return fail(code, "no socket"); }, note_);
  ask(relay, 7);
  code = Code::Unreachable;
  ask(relay, 8);
  EXPECT_THAT(ended_, ElementsAre("7 not asked", "8 unreachable"));
  Relay unconnected([](const Asker&) { return Result<UniqueFd>(LoopbackUdp("127.0.0.1").take()); }, note_);
  ask(unconnected, 9);
  EXPECT_EQ(ended_.back(), "9 not asked");
}

TEST_F(RelayTest, TheSocketIsTheCallers) {
  LoopbackUdp ours("127.84.0.9");
  const uint16_t port = ours.port();
  ours.connect("127.0.0.1", resolver_.port());
  Relay relay([&ours](const Asker&) { return Result<UniqueFd>(ours.take()); }, note_);
  ask(relay, 7);
  EXPECT_EQ(resolver_.hear(), query_of(7, "api.example", kA));
  EXPECT_EQ(resolver_.last_from(), "127.84.0.9:" + std::to_string(port));
}

TEST_F(RelayTest, WhoseDoorIsClosedIsForgotten) {
  Asked asked = asked_to_resolver(*read_query(query_of(8, "api.example", kA)));
  asked.door = 1;
  ask(relay_, 7);
  relay_.ask(std::move(asked), "behind another door", {1h, std::nullopt});
  relay_.forget(0);
  std::vector<pollfd> polled;
  relay_.add_to(polled);
  EXPECT_EQ(polled.size(), 1u);
  EXPECT_THAT(ended_, IsEmpty());
}

TEST_F(RelayTest, AResolverThatSaysNothingIsGivenUp) {
  ask(relay_, 6);
  ask(relay_, 7, {1ms, std::nullopt});
  ASSERT_LE(relay_.wait_ms(), 1);
  while (ended_.empty()) turn();
  EXPECT_THAT(ended_, ElementsAre("7 silent")) << "the one before has longer patience";
  EXPECT_GT(relay_.wait_ms(), 1000);
}

TEST_F(RelayTest, ThatNothingHasComeEarlyIsToldOnce) {
  ask(relay_, 6);
  ask(relay_, 7, {1h, 1ms});
  ASSERT_LE(relay_.wait_ms(), 1);
  while (ended_.empty()) turn();
  EXPECT_THAT(ended_, ElementsAre("7 not yet"));
  EXPECT_GT(relay_.wait_ms(), 1000);
  EXPECT_EQ(resolver_.hear(), query_of(6, "api.example", kA));
  const std::string asked = resolver_.hear();
  resolver_.answer(reply_to(asked, 0x8183));
  turn();
  EXPECT_THAT(ended_, ElementsAre("7 not yet", "7 answered " + reply_to(asked, 0x8183)));
}

TEST_F(RelayTest, WhatItsOwnerNotesOfAQuestionStaysWithIt) {
  std::vector<bool> noted;
  const auto before = std::chrono::steady_clock::now();
  Relay relay(connect_, [&](Asked& asked, Relay::End, std::string_view) {
    EXPECT_GE(asked.at, before);
    noted.push_back(asked.is_answered);
    asked.is_answered = true;
  });
  ask(relay, 7, {1h, 1ms});
  ASSERT_LE(relay.wait_ms(), 1);
  while (noted.empty()) relay.give_up_late_ones();
  ask(relay, 7, {0ms, std::nullopt});
  relay.give_up_late_ones();
  resolver_.answer(reply_to(resolver_.hear(), 0x8183));
  std::vector<pollfd> polled;
  relay.add_to(polled);
  ASSERT_EQ(::poll(polled.data(), polled.size(), -1), 1);
  relay.look(polled);
  EXPECT_THAT(noted, ElementsAre(false, false, true)) << "the second is another question";
}

TEST_F(RelayTest, TheOldestQuestionMakesRoom) {
  for (unsigned id = 0; id < Relay::kMostPending + 2; ++id) ask(relay_, id);
  EXPECT_THAT(ended_, ElementsAre("0 displaced", "1 displaced"));
  std::vector<pollfd> polled;
  relay_.add_to(polled);
  EXPECT_EQ(polled.size(), Relay::kMostPending);
}

}  // namespace
}  // namespace tapdeck::names
