#include <gmock/gmock.h>

#include "daemon/base/eventually.h"
#include "daemon/names/name_server_rig.h"

namespace tapdeck::names {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

class EarlyAnswersTest : public NameServerTest {
 protected:
  void start_early(std::chrono::milliseconds early) {
    view_->early = Early::FromTape;
    start(Ask::OutsideFirst, kLong, early);
  }
  void make_the_resolver_silent(std::chrono::milliseconds early) {
    start_early(early);
    client_.say(known_);
    EXPECT_EQ(resolver_.hear(), known_);
    EXPECT_EQ(client_.hear(), from_tape(known_));
  }
};

TEST_F(EarlyAnswersTest, TheTapeAnswersForAResolverThatIsSilent) {
  start_early(1ms);
  EXPECT_EQ(ask(known_), from_tape(known_));
  EXPECT_EQ(server_->counts().answered_from_tape, 1u);
}

TEST_F(EarlyAnswersTest, WhatTheResolverSaysLaterIsReportedAlone) {
  make_the_resolver_silent(1ms);
  resolver_.answer(reply_to(known_, 0x8183));
  EXPECT_TRUE(eventually([this] { return !notes().empty(); }));
  EXPECT_THAT(notes(), ElementsAre("4 answered api.example " + reply_to(known_, 0x8183)));
  EXPECT_EQ(ask_and_reply(other_, 0x8183), reply_to(other_, 0x8183)) << "nothing before";
}

TEST_F(EarlyAnswersTest, ThatNothingCameAtAllIsReportedToo) {
  view_->early = Early::FromTape;
  start(Ask::OutsideFirst, 30ms, 1ms);
  EXPECT_EQ(ask(known_), from_tape(known_));
  EXPECT_TRUE(eventually([this] { return !notes().empty(); }));
  EXPECT_THAT(notes(), ElementsAre("4 silent api.example"));
  EXPECT_EQ(server_->counts().answered_from_tape, 1u);
}

TEST_F(EarlyAnswersTest, WhatTheTapeDoesNotKnowOrFailedIsWaitedFor) {
  start_early(1ms);
  for (const std::string& question : {other_, query_of(9, "silent.example", kA)}) {
    client_.say(question);
    EXPECT_EQ(resolver_.hear(), question);
    EXPECT_EQ(ask(known_), from_tape(known_)) << "asked later";
    resolver_.answer(reply_to(question, 0x8180));
    EXPECT_EQ(client_.hear(), reply_to(question, 0x8180));
    EXPECT_EQ(resolver_.hear(), known_);
  }
}

TEST_F(EarlyAnswersTest, OnlyWhereItMayTheTapeIsEarly) {
  start(Ask::OutsideFirst, kLong, 1ms);
  other_view_->early = Early::FromTape;
  open_other(kOtherDoor, Ask::OutsideFirst);
  client_.say(known_);
  EXPECT_EQ(resolver_.hear(), known_);
  other_client_.say(known_);
  EXPECT_EQ(other_client_.hear(), from_tape(known_));
  resolver_.answer(reply_to(known_, 0x8183));
  EXPECT_EQ(client_.hear(), reply_to(known_, 0x8183));
}

TEST_F(EarlyAnswersTest, WhoIsSilentIsNotWaitedForAgainButAsked) {
  make_the_resolver_silent(100ms);
  client_.say(known_);
  EXPECT_EQ(resolver_.hear(), known_);
  EXPECT_TRUE(client_.has_heard()) << "before the resolver was asked";
  EXPECT_EQ(client_.hear(), from_tape(known_));
}

TEST_F(EarlyAnswersTest, WhoAnswersAgainIsWaitedForAgain) {
  make_the_resolver_silent(50ms);
  const std::string reply = reply_to(known_, 0x8183);
  resolver_.answer(reply);
  // Again where this test was held up for longer than the resolver is waited for.
  EXPECT_TRUE(eventually([&] { return ask_and_reply(known_, 0x8183) == reply; }));
}

}  // namespace
}  // namespace tapdeck::names
