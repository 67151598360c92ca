#include "daemon/names/name_server.h"

#include <gmock/gmock.h>

#include "daemon/base/eventually.h"
#include "daemon/base/no_threads.h"
#include "daemon/names/name_server_rig.h"

namespace tapdeck::names {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(NameServerTest, ReplayAnswersFromTapeAlone) {
  start(Ask::TapeOnly);
  EXPECT_EQ(ask(known_), from_tape(known_));
  EXPECT_EQ(ask(other_), reply_to(other_, 0x8183));
  EXPECT_THAT(notes(), ElementsAre("4 unknown other.example"));
  EXPECT_EQ(server_->counts().answered_from_tape, 1u);
  EXPECT_EQ(server_->counts().unknown, 1u);
  EXPECT_EQ(server_->counts().relayed, 0u);
}

TEST_F(NameServerTest, ReplayAsksForWhatIsLetThroughWhereItIsNotOnTape) {
  outside_name_ = "other.example";
  outside_ = Outside::AfterTape;
  start(Ask::TapeOnly);
  EXPECT_EQ(ask_and_reply(other_, 0x8180), reply_to(other_, 0x8180));
  EXPECT_EQ(ask(known_), from_tape(known_));
  const std::string v6 = query_of(9, "other.example", kAaaa);
  EXPECT_EQ(ask(v6), reply_to(v6, 0x8180)) << "nobody gets there by IPv6";
  EXPECT_EQ(server_->counts().relayed, 1u);
  EXPECT_EQ(server_->counts().unknown, 0u);
}

TEST_F(NameServerTest, ReplayAsksFirstForWhatPassesTheTapeBy) {
  outside_name_ = "api.example";
  outside_ = Outside::First;
  start(Ask::TapeOnly);
  EXPECT_EQ(ask_and_reply(known_, 0x8180), reply_to(known_, 0x8180));
  EXPECT_EQ(ask_and_reply(known_, 0x8182), from_tape(known_)) << "no resolver answers";
}

TEST_F(NameServerTest, ReplayThatIsLetThroughEndsWhereNoResolverIs) {
  ignore(resolver_.take(), "closed");
  outside_name_ = "other.example";
  outside_ = Outside::AfterTape;
  start(Ask::TapeOnly);
  EXPECT_EQ(ask(other_), reply_to(other_, 0x8183));
  EXPECT_THAT(notes(), ElementsAre("4 unreachable other.example", "4 unknown other.example"));
  EXPECT_EQ(server_->counts().unknown, 1u);
}

TEST_F(NameServerTest, ReplayThatIsLetThroughEndsWhenNoResolverAnswers) {
  outside_name_ = "other.example";
  outside_ = Outside::AfterTape;
  start(Ask::TapeOnly, 1ms);
  EXPECT_EQ(ask(other_), reply_to(other_, 0x8183));
  EXPECT_THAT(notes(), ElementsAre("4 silent other.example", "4 unknown other.example"));
}

TEST_F(NameServerTest, ReplayPassesOnThatAResolverFails) {
  outside_name_ = "other.example";
  outside_ = Outside::AfterTape;
  start(Ask::TapeOnly);
  EXPECT_EQ(ask_and_reply(other_, 0x8182), reply_to(other_, 0x8182));
  EXPECT_EQ(server_->counts().unknown, 0u);
}

TEST_F(NameServerTest, ReplaySaysSoWhereItCannotAsk) {
  outside_name_ = "other.example";
  outside_ = Outside::AfterTape;
  connect_ = [](const Asker&) -> Result<UniqueFd> { return fail(Code::Exhausted, "no descriptor"); };
  start(Ask::TapeOnly);
  EXPECT_EQ(ask(other_), reply_to(other_, 0x8182));
  EXPECT_THAT(notes(), IsEmpty()) << "of the name it is not known";
}

TEST_F(NameServerTest, ReplayDoesNotWaitForWhoWasSilentWhenRecorded) {
  start(Ask::TapeOnly);
  const std::string silent = query_of(9, "silent.example", kA);
  EXPECT_EQ(ask(silent), reply_to(silent, 0x8182));
  EXPECT_THAT(notes(), IsEmpty());
  EXPECT_EQ(server_->counts().answered_from_tape, 1u);
}

TEST_F(NameServerTest, MalformedDatagramsAreToldOrDroppedInReplay) {
  start(Ask::TapeOnly);
  client_.say("short");
  client_.say(reply_to(known_, 0x8180));
  const std::string cut = known_.substr(0, 20);
  EXPECT_EQ(ask(cut), word(7) + word(0x8101) + std::string(8, '\0'));
  EXPECT_EQ(ask(known_), from_tape(known_));
  EXPECT_EQ(server_->counts().malformed, 3u);
}

TEST_F(NameServerTest, WhatIsNoQueryIsPassedAsItIs) {
  start(Ask::OutsideFirst);
  for (const std::string& sent : {std::string("short"), reply_to(known_, 0x8180), reply_to(known_, 0x2800),
                                  known_.substr(0, 20), std::string(known_).replace(4, 2, word(2))}) {
    client_.say(sent);
    EXPECT_EQ(resolver_.hear(), sent);
    resolver_.answer("said to " + sent);
    EXPECT_EQ(client_.hear(), "said to " + sent);
  }
  EXPECT_EQ(server_->counts().malformed, 5u);
  EXPECT_EQ(server_->counts().relayed, 5u);
  EXPECT_THAT(notes(), IsEmpty());
}

TEST_F(NameServerTest, WhoIsSealedPassesNothingButQueries) {
  view_->unread = Unread::Refused;
  start(Ask::OutsideFirst);
  client_.say("a letter");
  const std::string update = reply_to(known_, 0x2800);
  EXPECT_EQ(ask(update), word(7) + word(0xA804) + std::string(8, '\0'));
  EXPECT_EQ(ask_and_reply(known_, 0x8180), reply_to(known_, 0x8180)) << "the first that the resolver hears";
}

TEST_F(NameServerTest, NobodyAnswersWhatIsNoQueryForAResolverThatIsNotThere) {
  ignore(resolver_.take(), "closed");
  start(Ask::OutsideFirst);
  client_.say("short");
  EXPECT_EQ(ask(known_), from_tape(known_));
}

TEST_F(NameServerTest, TheResolverOutsideIsAskedFirst) {
  start(Ask::OutsideFirst);
  const std::string question = query_of(7, "Api.example", kA, opt_record(1232));
  client_.say(question);
  EXPECT_EQ(resolver_.hear(), question) << "as it was sent";
  const std::string reply = reply_to(question, 0x8180, 1, bytes("\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x0a\0\0\1"));
  resolver_.answer(reply);
  EXPECT_EQ(client_.hear(), reply);
  EXPECT_EQ(ask_and_reply(known_, 0x8183), reply_to(known_, 0x8183)) << "it says that there is none";
  EXPECT_EQ(ask_and_reply(known_, 0x8380), reply_to(known_, 0x8380)) << "truncated: over TCP";
  EXPECT_EQ(server_->counts().relayed, 3u);
  EXPECT_EQ(server_->counts().answered_from_tape, 0u);
}

TEST_F(NameServerTest, WhatAResolverSaysIsReported) {
  start(Ask::OutsideFirst);
  EXPECT_EQ(ask_and_reply(known_, 0x8180), reply_to(known_, 0x8180));
  EXPECT_EQ(ask_and_reply(known_, 0x8380), reply_to(known_, 0x8380)) << "truncated";
  EXPECT_EQ(ask_and_reply(other_, 0x8185), reply_to(other_, 0x8185));
  const std::string chaos = query_of(9, "version.bind", 16, {}, 3);
  EXPECT_EQ(ask_and_reply(chaos, 0x8180), reply_to(chaos, 0x8180));
  EXPECT_THAT(notes(), ElementsAre("4 answered api.example " + reply_to(known_, 0x8180),
                                   "4 answered api.example " + reply_to(known_, 0x8380),
                                   "4 answered other.example " + reply_to(other_, 0x8185)));
}

TEST_F(NameServerTest, NothingNeedsToBeReported) {
  view_->on_lookup = nullptr;
  view_->outside = nullptr;
  start(Ask::OutsideFirst);
  EXPECT_EQ(ask_and_reply(known_, 0x8180), reply_to(known_, 0x8180));
}

TEST_F(NameServerTest, HttpsRecordsAreWithheld) {
  start(Ask::OutsideFirst);
  for (const uint16_t type : {kHttps, kSvcb}) {
    const std::string question = query_of(7, "other.example", type);
    EXPECT_EQ(ask(question), reply_to(question, 0x8180));
  }
  EXPECT_EQ(server_->counts().withheld, 2u);
  EXPECT_EQ(server_->counts().relayed, 0u);
}

TEST_F(NameServerTest, TheTapeAnswersWhereTheResolverFails) {
  start(Ask::OutsideFirst);
  EXPECT_EQ(ask_and_reply(known_, 0x8182), from_tape(known_)) << "SERVFAIL";
  EXPECT_EQ(ask_and_reply(known_, 0x8185), from_tape(known_)) << "REFUSED";
  EXPECT_EQ(ask_and_reply(other_, 0x8182), reply_to(other_, 0x8182));
  EXPECT_EQ(ask_and_reply(other_, 0x8185), reply_to(other_, 0x8185));
  EXPECT_EQ(server_->counts().answered_from_tape, 2u);
  EXPECT_EQ(server_->counts().unknown, 0u);
}

TEST_F(NameServerTest, WhereNoResolverIsTheTapeAnswersOrServfail) {
  ignore(resolver_.take(), "closed");
  start(Ask::OutsideFirst);
  EXPECT_EQ(ask(known_), from_tape(known_));
  EXPECT_EQ(ask(other_), reply_to(other_, 0x8182));
}

TEST_F(NameServerTest, WhatNobodyAnswersStaysUnansweredUnlessItIsOnTape) {
  start(Ask::OutsideFirst, 1ms);
  client_.say(other_);
  EXPECT_EQ(ask(known_), from_tape(known_)) << "the other was given up before";
  EXPECT_THAT(notes(), ElementsAre("4 silent other.example", "4 silent api.example"));
}

TEST_F(NameServerTest, EachDoorHasItsAskers) {
  start(Ask::TapeOnly);
  open_other(kOtherDoor, Ask::OutsideFirst);
  other_client_.say(other_);
  resolver_.answer(reply_to(resolver_.hear(), 0x8180));
  EXPECT_EQ(other_client_.hear(), reply_to(other_, 0x8180));
  EXPECT_EQ(ask(other_), reply_to(other_, 0x8183));
  EXPECT_THAT(notes(), ElementsAre("5 answered other.example " + reply_to(other_, 0x8180), "4 unknown other.example"));
}

TEST_F(NameServerTest, StrangersAreNotAnswered) {
  start(Ask::TapeOnly);
  LoopbackUdp door("127.0.0.1");
  stranger_.connect("127.0.0.1", door.port());
  other_client_.connect("127.0.0.1", door.port());
  stranger_.say(known_);
  other_client_.say(known_);
  ASSERT_TRUE(server_->open({kOtherDoor, door.take(), Endpoint::Family::V4}));
  EXPECT_EQ(other_client_.hear(), from_tape(known_));
  EXPECT_EQ(server_->counts().strangers, 1u);
  EXPECT_EQ(server_->counts().answered_from_tape, 1u);
}

TEST_F(NameServerTest, WhoHasNoViewIsNotAnswered) {
  start(Ask::TapeOnly);
  open_other(6, Ask::TapeOnly);
  other_client_.say(known_);
  EXPECT_TRUE(eventually([this] { return server_->counts().strangers == 1; }));
  EXPECT_EQ(ask(known_), from_tape(known_));
}

TEST_F(NameServerTest, BehindAClosedDoorNobodyIsAnswered) {
  start(Ask::TapeOnly);
  open_other(kOtherDoor, Ask::OutsideFirst);
  other_client_.say(other_);
  EXPECT_EQ(resolver_.hear(), other_);
  server_->close(kOtherDoor);
  server_->close(6);
  EXPECT_TRUE(eventually([this] { return other_client_.is_refused(known_); }));
  resolver_.answer(reply_to(other_, 0x8180));
  EXPECT_EQ(ask(known_), from_tape(known_)) << "the other door is open";
  EXPECT_THAT(notes(), IsEmpty());
}

TEST_F(NameServerTest, ADoorOfTheSameIdReplacesTheOneBefore) {
  start(Ask::TapeOnly);
  open_other(kDoor, Ask::TapeOnly);
  other_client_.say(known_);
  EXPECT_EQ(other_client_.hear(), from_tape(known_));
  EXPECT_TRUE(client_.is_refused(known_)) << "closed before the other was read";
}

TEST_F(NameServerTest, Ipv6IsServedToo) {
  LoopbackUdp v6("::"), client("::1");
  if (!client.is_bound()) GTEST_SKIP() << "no IPv6 on the loopback interface";
  client.connect("::1", v6.port());
  start(Ask::TapeOnly);
  ASSERT_TRUE(server_->open({kOtherDoor, v6.take(), Endpoint::Family::V6}));
  client.say(other_);
  EXPECT_EQ(client.hear(), reply_to(other_, 0x8183));
}

TEST_F(NameServerTest, ItEndsWhileQuestionsAreOpen) {
  start(Ask::OutsideFirst);
  client_.say(known_);
  EXPECT_EQ(resolver_.hear(), known_);
  server_.reset();
}

TEST_F(NameServerTest, OnlyASocketIsADoor) {
  start(Ask::TapeOnly);
  EXPECT_FALSE(server_->open({kOtherDoor, UniqueFd(), Endpoint::Family::V4}));
  EXPECT_EQ(ask(known_), from_tape(known_));
}

TEST_F(NameServerTest, WithoutAskersOrAThreadItIsNotStarted) {
  const auto none = NameServer::start({});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::InvalidArgument);
  NameServerOptions options;
  options.asker_of = [](uint64_t, const Datagram&) { return std::nullopt; };
  const auto mute = NameServer::start(options);
  ASSERT_FALSE(mute) << "it could not ask anybody";
  EXPECT_EQ(mute.error().code, Code::InvalidArgument);
  options.connect = connect_;
  const NoThreads no_threads;
  const auto refused = NameServer::start(std::move(options));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::Exhausted);
}

}  // namespace
}  // namespace tapdeck::names
