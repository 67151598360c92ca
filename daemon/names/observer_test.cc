#include "daemon/names/observer.h"

#include <gmock/gmock.h>

#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr unsigned kGood = 0x8180, kServFail = 0x8182, kNxDomain = 0x8183, kRefused = 0x8185, kTruncated = 0x8380;

class ObserverTest : public testing::Test {
 protected:
  Sighting sighting(Sighting::Way way, const std::string& bytes, const std::string& resolver) const {
    return {target_, cookie_, *Endpoint::parse(client_), *Endpoint::parse(resolver, 53), way, bytes};
  }
  void ask(const std::string& query, const std::string& resolver = kFirst) {
    observer_.saw(sighting(Sighting::Way::Question, query, resolver), now_);
  }
  // `length`: of the whole, of which `reply` may be the beginning.
  void answer(const std::string& reply, const std::string& resolver = kFirst, size_t length = 0) {
    Sighting seen = sighting(Sighting::Way::Answer, reply, resolver);
    seen.length = length;
    observer_.saw(seen, now_);
  }
  void wait(std::chrono::milliseconds time) {
    now_ += time;
    observer_.give_up_late_ones(now_);
  }
  [[nodiscard]] std::string said(unsigned flags) const { return "3 api.example 1 answered " + reply_to(query_, flags); }

  static constexpr const char* kFirst = "192.0.2.1";
  static constexpr const char* kSecond = "192.0.2.2";
  const std::string query_ = query_of(7, "Api.Example", kA);
  uint32_t target_ = 3;
  uint64_t cookie_ = 5;
  std::string client_ = "10.0.0.1:4000";
  SteadyTime now_{1h};
  std::vector<std::string> ended_;
  Observer observer_{[this](uint32_t target, const Lookup& lookup) {
    const char* how = lookup.end == LookupEnd::Answered ? "answered " : "silent";
    ended_.push_back(std::to_string(target) + " " + lookup.name + " " + std::to_string(lookup.type) + " " + how +
                     lookup.reply);
  }};
};

TEST_F(ObserverTest, AnAnswerEndsItsQuestion) {
  ask(query_);
  answer(reply_to(query_, kGood, 1, record(kA, "abcd")));
  EXPECT_THAT(ended_, ElementsAre("3 api.example 1 answered " + reply_to(query_, kGood, 1, record(kA, "abcd"))));
  wait(1h);
  EXPECT_EQ(ended_.size(), 1u);
  EXPECT_EQ(observer_.malformed(), 0u);
}

TEST_F(ObserverTest, EachQuestionHasItsOwn) {
  const std::string other = query_of(8, "other.example", kHttps);
  ask(query_);
  ask(other);
  answer(reply_to(other, kGood));
  answer(reply_to(query_, kNxDomain));
  EXPECT_THAT(ended_, ElementsAre("3 other.example 65 answered " + reply_to(other, kGood), said(kNxDomain)));
}

TEST_F(ObserverTest, WhoHearsNothingInTimeHeardSilence) {
  ask(query_);
  wait(14999ms);
  EXPECT_THAT(ended_, IsEmpty());
  wait(1ms);
  EXPECT_THAT(ended_, ElementsAre("3 api.example 1 silent"));
}

TEST_F(ObserverTest, TimePassesWithWhatIsSeenToo) {
  ask(query_);
  now_ += 15s;
  answer(reply_to(query_, kGood));
  EXPECT_THAT(ended_, ElementsAre("3 api.example 1 silent"));
  EXPECT_EQ(observer_.malformed(), 1u) << "late";
}

TEST_F(ObserverTest, AskedAgainIsTheSameLookup) {
  ask(query_);
  wait(3s);
  ask(query_);
  client_ = "10.0.0.1:4001";  // the next resolver by another socket
  ask(query_, kSecond);
  answer(reply_to(query_, kGood), kSecond);
  EXPECT_THAT(ended_, ElementsAre(said(kGood)));
  answer(reply_to(query_, kGood));
  EXPECT_EQ(observer_.malformed(), 1u) << "nobody waits for the second";
  wait(1h);
  EXPECT_EQ(ended_.size(), 1u);
}

TEST_F(ObserverTest, PatienceBeginsWithTheFirstQuestion) {
  ask(query_);
  wait(10s);
  ask(query_);
  wait(5s);
  EXPECT_THAT(ended_, ElementsAre("3 api.example 1 silent"));
}

TEST_F(ObserverTest, WhatAnotherResolverSaysIsBetterThanAFailure) {
  ask(query_);
  ask(query_, kSecond);
  answer(reply_to(query_, kServFail));
  EXPECT_THAT(ended_, IsEmpty());
  answer(reply_to(query_, kGood), kSecond);
  EXPECT_THAT(ended_, ElementsAre(said(kGood)));
}

TEST_F(ObserverTest, AFailureIsTheAnswerOnceAllHaveFailed) {
  ask(query_);
  ask(query_, kSecond);
  answer(reply_to(query_, kServFail));
  answer(reply_to(query_, kServFail));
  EXPECT_THAT(ended_, IsEmpty()) << "the same one twice";
  answer(reply_to(query_, kRefused), kSecond);
  EXPECT_THAT(ended_, ElementsAre(said(kRefused)));
  ask(query_);
  answer(reply_to(query_, kServFail));
  EXPECT_THAT(ended_, ElementsAre(said(kRefused), said(kServFail)));
}

TEST_F(ObserverTest, AFailureIsTheAnswerWhenPatienceEnds) {
  ask(query_);
  ask(query_, kSecond);
  answer(reply_to(query_, kServFail), kSecond);
  wait(15s);
  EXPECT_THAT(ended_, ElementsAre(said(kServFail)));
}

TEST_F(ObserverTest, AResolverMayAnswerFromAnotherAddress) {
  ask(query_);
  answer(reply_to(query_, kRefused), "10.96.0.10");
  EXPECT_THAT(ended_, ElementsAre(said(kRefused)));
}

TEST_F(ObserverTest, ATruncatedAnswerIsOneToo) {
  ask(query_);
  answer(reply_to(query_, kTruncated));
  EXPECT_THAT(ended_, ElementsAre(said(kTruncated))) << "over UDP there comes no other";
  wait(1h);
  EXPECT_EQ(ended_.size(), 1u);
  EXPECT_EQ(observer_.lost(), 0u);
}

TEST_F(ObserverTest, WhereSomeWereMissedSilenceIsNotCertain) {
  const std::string later = query_of(8, "later.example", kA), failing = query_of(9, "failing.example", kA);
  ask(query_);
  ask(failing);
  ask(failing, kSecond);
  observer_.missed_some();
  ask(later);
  answer(reply_to(failing, kServFail));
  wait(15s);
  EXPECT_THAT(ended_, ElementsAre("3 later.example 1 silent"));
  EXPECT_EQ(observer_.lost(), 2u) << "the second may have answered better than the first";
}

TEST_F(ObserverTest, OfATargetThatIsGoneNobodyIsTold) {
  ask(query_);
  observer_.forget(4);
  observer_.forget(3);
  answer(reply_to(query_, kGood));
  wait(15s);
  EXPECT_TRUE(ended_.empty());
  EXPECT_EQ(observer_.lost(), 1u);
}

TEST_F(ObserverTest, AnAnswerIsCertainWhateverWasMissed) {
  ask(query_);
  observer_.missed_some();
  answer(reply_to(query_, kGood));
  EXPECT_THAT(ended_, ElementsAre(said(kGood)));
  EXPECT_EQ(observer_.lost(), 0u);
}

TEST_F(ObserverTest, AnAnswerOfWhichOnlyTheBeginningIsThereIsLost) {
  const std::string reply = reply_to(query_, kGood, 1, record(kA, "abcd"));
  const size_t question_end = query_.size();
  ask(query_);
  answer(reply.substr(0, question_end), kFirst, reply.size());
  EXPECT_EQ(observer_.lost(), 1u);
  answer(reply, kFirst, reply.size());
  EXPECT_EQ(observer_.malformed(), 1u) << "it has ended";
  ask(query_);
  answer(reply.substr(0, question_end - 1), kFirst, reply.size());
  EXPECT_EQ(observer_.malformed(), 2u) << "to which question is not known";
  answer(reply, kFirst, reply.size());
  EXPECT_THAT(ended_, ElementsAre("3 api.example 1 answered " + reply));
  EXPECT_EQ(observer_.lost(), 1u);
}

TEST_F(ObserverTest, AFailureThatIsCutIsLostUnlessAnotherAnswers) {
  const auto fail_cut = [this] { answer(reply_to(query_, kServFail), kFirst, 5000); };
  ask(query_);
  ask(query_, kSecond);
  fail_cut();
  EXPECT_EQ(observer_.lost(), 0u);
  answer(reply_to(query_, kGood), kSecond);
  ask(query_);
  ask(query_, kSecond);
  fail_cut();
  answer(reply_to(query_, kRefused), kSecond);
  EXPECT_THAT(ended_, ElementsAre(said(kGood), said(kRefused)));
  EXPECT_EQ(observer_.lost(), 0u);
  ask(query_);
  fail_cut();
  ask(query_);
  ask(query_, kSecond);
  fail_cut();
  wait(15s);
  EXPECT_EQ(ended_.size(), 2u);
  EXPECT_EQ(observer_.lost(), 2u);
}

TEST_F(ObserverTest, WhatNobodyAskedForIsCounted) {
  answer(reply_to(query_, kGood));
  ask(query_);
  answer(reply_to(query_of(8, "api.example", kA), kGood));
  answer(reply_to(query_of(7, "bpi.example", kA), kGood));
  answer(reply_to(query_of(7, "api.example", kAaaa), kGood));
  answer(query_);
  EXPECT_EQ(observer_.malformed(), 5u);
  EXPECT_THAT(ended_, IsEmpty());
  answer(word(7) + word(0x8101) + std::string(8, '\0'));
  EXPECT_THAT(ended_, testing::SizeIs(1)) << "an error needs no question";
}

TEST_F(ObserverTest, AnotherClientsAnswerIsNotOurs) {
  ask(query_);
  const auto answers = [this] { answer(reply_to(query_, kGood)); };
  client_ = "10.0.0.2:4000";
  answers();
  client_ = "10.0.0.1:4000";
  cookie_ = 6;
  answers();
  cookie_ = 5;
  target_ = 4;
  answers();
  EXPECT_THAT(ended_, IsEmpty());
  target_ = 3;
  answers();
  EXPECT_THAT(ended_, ElementsAre(said(kGood)));
}

TEST_F(ObserverTest, WhatIsNoQuestionIsCounted) {
  ask("short");
  ask(reply_to(query_, kGood));
  ask(query_.substr(0, 20));
  ask(std::string(query_).replace(2, 2, word(0x2800)));
  ask(query_of(7, "version.bind", 16, {}, 3));
  EXPECT_EQ(observer_.malformed(), 5u);
  wait(1h);
  EXPECT_THAT(ended_, IsEmpty());
}

TEST_F(ObserverTest, TheOldestGivesWay) {
  const auto name_of = [](size_t i) { return "n" + std::to_string(i); };
  for (size_t i = 0; i <= Observer::kMostPending; ++i) ask(query_of(7, name_of(i), kA));
  EXPECT_THAT(ended_, IsEmpty());
  answer(reply_to(query_of(7, name_of(0), kA), kGood));
  EXPECT_EQ(observer_.malformed(), 1u);
  answer(reply_to(query_of(7, name_of(1), kA), kGood));
  EXPECT_EQ(ended_.size(), 1u);
  wait(15s);
  EXPECT_EQ(ended_.size(), Observer::kMostPending);
}

}  // namespace
}  // namespace tapdeck::names
