#include "daemon/names/relay.h"

#include <gmock/gmock.h>

#include "daemon/base/result.h"
#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class RelayTest : public testing::Test {
 protected:
  void ask(Relay& relay, unsigned id) {
    const std::string datagram = query_of(id, "api.example", kA);
    Asked asked;
    asked.resolver = *Endpoint::parse("127.0.0.1", resolver_.port());
    asked.query = *read_query(datagram);
    relay.ask(std::move(asked), datagram);
  }
  // One turn of its owner's loop.
  static void turn(Relay& relay) {
    std::vector<pollfd> polled;
    relay.add_to(polled);
    ASSERT_GE(::poll(polled.data(), polled.size(), relay.wait_ms()), 0);
    relay.look(polled);
    relay.give_up_late_ones();
  }

  LoopbackUdp resolver_{"127.0.0.1"};
  std::vector<std::string> ended_;
  Relay::Ended note_ = [this](const Asked& asked, Relay::End end, std::string_view reply) {
    const char* how = end == Relay::End::Answered ? "answered " : end == Relay::End::Refused ? "refused" : "silent";
    ended_.push_back(std::to_string(asked.query.id) + " " + how + std::string(reply));
  };
  Relay relay_{1h, note_};
};

TEST_F(RelayTest, AnAnswerIsHandedOverAsItIs) {
  ask(relay_, 7);
  const std::string asked = resolver_.hear();
  EXPECT_EQ(asked, query_of(7, "api.example", kA));
  const std::string reply = reply_to(asked, 0x8380, 3, "cut");
  resolver_.answer(reply);
  turn(relay_);
  EXPECT_THAT(ended_, ElementsAre("7 answered " + reply));
  EXPECT_EQ(relay_.wait_ms(), -1) << "nobody waits any more";
}

TEST_F(RelayTest, OtherAnswersAreNotTaken) {
  ask(relay_, 7);
  const std::string asked = resolver_.hear();
  resolver_.answer(reply_to(query_of(8, "api.example", kA), 0x8180));
  turn(relay_);
  EXPECT_THAT(ended_, IsEmpty());
  resolver_.answer(asked);
  resolver_.answer(reply_to(query_of(7, "other.example", kA), 0x8180));
  resolver_.answer(reply_to(asked, 0x8183));
  turn(relay_);
  EXPECT_THAT(ended_, ElementsAre("7 answered " + reply_to(asked, 0x8183)));
}

TEST_F(RelayTest, AResolverThatIsNotThereRefuses) {
  ignore(resolver_.take(), "closed");
  ask(relay_, 7);
  turn(relay_);
  EXPECT_THAT(ended_, ElementsAre("7 refused"));
  Asked asked;
  asked.query.id = 8;
  relay_.ask(std::move(asked), "to no address");
  EXPECT_THAT(ended_, ElementsAre("7 refused", "8 refused"));
}

TEST_F(RelayTest, AResolverThatSaysNothingIsGivenUp) {
  Relay relay(1ms, note_);
  ask(relay, 7);
  EXPECT_LE(relay.wait_ms(), 1);
  while (ended_.empty()) turn(relay);
  EXPECT_THAT(ended_, ElementsAre("7 silent"));
}

TEST_F(RelayTest, TheOldestQuestionMakesRoom) {
  for (unsigned id = 0; id < Relay::kMostPending + 2; ++id) ask(relay_, id);
  EXPECT_THAT(ended_, ElementsAre("0 silent", "1 silent"));
  std::vector<pollfd> polled;
  relay_.add_to(polled);
  EXPECT_EQ(polled.size(), Relay::kMostPending);
}

}  // namespace
}  // namespace tapdeck::names
