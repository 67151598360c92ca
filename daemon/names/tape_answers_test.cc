#include "daemon/names/tape_answers.h"

#include <gmock/gmock.h>

#include <map>

#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class TapeAnswersTest : public testing::Test {
 protected:
  void on_tape(const std::string& name, const std::vector<std::string>& addresses) {
    auto& list = tape_[name];
    for (const std::string& address : addresses) list.push_back(*Endpoint::parse(address));
  }
  std::string ask(const std::string& name, unsigned type = kA, unsigned record_class = kInternet) {
    asked_ = query_of(7, name, type, {}, record_class);
    return answers_.of(*read_query(asked_));
  }
  // The answer to what was asked last.
  [[nodiscard]] std::string nothing() const { return reply_to(asked_, 0x8180); }
  [[nodiscard]] std::string no_such_name() const { return reply_to(asked_, 0x8183); }
  [[nodiscard]] std::string with(const std::vector<std::string>& addresses) const {
    std::vector<Endpoint> list;
    for (const std::string& address : addresses) list.push_back(*Endpoint::parse(address));
    return answer_to(*read_query(asked_), Rcode::NoError, list);
  }

  std::map<std::string, std::vector<Endpoint>, std::less<>> tape_;
  std::vector<std::string> unknown_;
  std::string asked_;
  TapeAnswers answers_{[this](std::string_view name) -> std::optional<std::vector<Endpoint>> {
                         const auto found = tape_.find(name);
                         return found == tape_.end() ? std::nullopt : std::optional(found->second);
                       },
                       [this](const std::string& name) { unknown_.push_back(name); },
                       {"corp.lan"}};
};

TEST_F(TapeAnswersTest, ANameOnTapeHasItsAddresses) {
  on_tape("api.example", {"192.0.2.1", "2001:db8::1", "192.0.2.2"});
  EXPECT_EQ(ask("API.example"), with({"192.0.2.1", "192.0.2.2"}));
  EXPECT_EQ(ask("api.example", kAaaa), with({"2001:db8::1"}));
  EXPECT_EQ(ask("api.example", kHttps), nothing());
  EXPECT_EQ(ask("api.example", 15), nothing()) << "MX";
  EXPECT_EQ(answers_.answered(), 4u);
  EXPECT_EQ(answers_.unknown(), 0u);
  EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(TapeAnswersTest, AFamilyThatWasNotRecordedIsNoError) {
  on_tape("four.example", {"192.0.2.1"});
  on_tape("six.example", {"2001:db8::1"});
  EXPECT_EQ(ask("four.example", kAaaa), nothing());
  EXPECT_EQ(ask("six.example", kA), nothing());
}

TEST_F(TapeAnswersTest, ANameWithoutAddressesGetsOneOfOurs) {
  on_tape("proxied.example", {});
  EXPECT_EQ(ask("proxied.example"), with({synthetic_address("proxied.example").ip()}));
  EXPECT_EQ(ask("proxied.example", kAaaa), nothing());
  EXPECT_EQ(synthetic_address("proxied.example"), synthetic_address("proxied.example"));
  EXPECT_NE(synthetic_address("proxied.example"), synthetic_address("proxied.example2"));
  for (int i = 0; i < 1000; ++i) {
    EXPECT_THAT(synthetic_address(std::to_string(i)).ip(), testing::MatchesRegex("198\\.1[89]\\..*"));
  }
  EXPECT_EQ(synthetic_address("").ip(), "198.18.221.75") << "must not change: clients may keep it";
}

TEST_F(TapeAnswersTest, AnUnknownNameIsReportedOnce) {
  EXPECT_EQ(ask("New.example"), no_such_name());
  EXPECT_EQ(ask("new.example", kAaaa), no_such_name());
  EXPECT_EQ(ask("other.example", kHttps), no_such_name()) << "a service, which may be missing";
  EXPECT_EQ(ask("_http._tcp.new.example", 33), no_such_name());
  EXPECT_THAT(unknown_, ElementsAre("new.example"));
  EXPECT_EQ(answers_.unknown(), 2u);
  EXPECT_EQ(answers_.answered(), 0u);
}

TEST_F(TapeAnswersTest, ASearchDomainBehindANameIsNotReported) {
  on_tape("api.example", {"192.0.2.1"});
  EXPECT_EQ(ask("api.example.corp.lan"), no_such_name());
  EXPECT_EQ(ask("localhost.corp.lan"), no_such_name());
  EXPECT_THAT(unknown_, IsEmpty());
  EXPECT_EQ(ask("new.example"), no_such_name());
  EXPECT_EQ(ask("new.example.corp.lan"), no_such_name());
  EXPECT_EQ(ask("host.corp.lan"), no_such_name()) << "asked for before the name alone";
  EXPECT_EQ(ask("host"), no_such_name());
  EXPECT_THAT(unknown_, ElementsAre("new.example", "host.corp.lan"));
}

TEST_F(TapeAnswersTest, AnotherNameThatBeginsLikeOneIsReported) {
  on_tape("shop.com", {"192.0.2.1"});
  EXPECT_EQ(ask("shop.com.au"), no_such_name());
  EXPECT_THAT(unknown_, ElementsAre("shop.com.au"));
}

TEST_F(TapeAnswersTest, LocalhostIsLoopback) {
  for (const char* name : {"localhost", "LocalHost", "a.b.localhost"}) {
    EXPECT_EQ(ask(name), with({"127.0.0.1"})) << name;
    EXPECT_EQ(ask(name, kAaaa), with({"::1"})) << name;
    EXPECT_EQ(ask(name, 15), nothing()) << name;
  }
  EXPECT_THAT(unknown_, IsEmpty());
  EXPECT_EQ(ask("nolocalhost"), no_such_name());
  EXPECT_THAT(unknown_, ElementsAre("nolocalhost"));
}

TEST_F(TapeAnswersTest, AddressesHaveNoNames) {
  EXPECT_EQ(ask("1.2.0.192.in-addr.arpa", 12), no_such_name());
  EXPECT_EQ(ask("1.0.8.B.D.0.1.0.0.2.ip6.arpa", 12), no_such_name());
  EXPECT_THAT(unknown_, IsEmpty());
  EXPECT_EQ(answers_.unknown(), 0u);
}

TEST_F(TapeAnswersTest, TheRootIsThereAndOtherClassesAreNot) {
  EXPECT_EQ(ask("", 2), nothing());
  EXPECT_EQ(ask("version.bind", 16, 3), reply_to(asked_, 0x8185)) << "CHAOS";
  EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(TapeAnswersTest, OnlySoManyNamesAreKept) {
  for (size_t i = 0; i < TapeAnswers::kMostReported + 5; ++i) EXPECT_EQ(ask("n" + std::to_string(i)), no_such_name());
  EXPECT_EQ(unknown_.size(), TapeAnswers::kMostReported);
  EXPECT_EQ(answers_.unknown(), TapeAnswers::kMostReported + 5);
}

TEST_F(TapeAnswersTest, WhatIsNotKnownMayBeLeftToOthers) {
  on_tape("api.example", {"192.0.2.1"});
  EXPECT_TRUE(answers_.of_known(*read_query(query_of(7, "api.example", kA))));
  EXPECT_FALSE(answers_.of_known(*read_query(query_of(7, "new.example", kA))));
  EXPECT_FALSE(answers_.of_known(*read_query(query_of(7, "api.example", kA, {}, 3)))) << "CHAOS";
  EXPECT_THAT(unknown_, IsEmpty());
}

}  // namespace
}  // namespace tapdeck::names
