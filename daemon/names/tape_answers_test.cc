#include "daemon/names/tape_answers.h"

#include <gmock/gmock.h>

#include <map>
#include <utility>

#include "daemon/base/ascii.h"
#include "daemon/names/names_rig.h"
#include "daemon/names/view.h"

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
    return answers_.of(*read_query(asked_), asker_);
  }
  // When it was recorded, by another client, which spelled it otherwise. `flags`: of what the resolver said.
  void answered(const std::string& name, unsigned type, unsigned flags, unsigned count = 0,
                const std::string& records = {}) {
    const std::string reply = reply_to(query_of(99, name, type), flags, count, records);
    recorded_[{lowered(name), type}] = {lowered(name), static_cast<uint16_t>(type), LookupEnd::Answered, reply};
  }
  void not_answered(const std::string& name, unsigned type, LookupEnd end) {
    recorded_[{name, type}] = {name, static_cast<uint16_t>(type), end, {}};
  }
  // The answer to what was asked last.
  [[nodiscard]] std::string nothing() const { return reply_to(asked_, 0x8180); }
  [[nodiscard]] std::string no_such_name() const { return reply_to(asked_, 0x8183); }
  [[nodiscard]] std::string failure() const { return reply_to(asked_, 0x8182); }
  [[nodiscard]] std::string with(const std::vector<std::string>& addresses) const {
    std::vector<Endpoint> list;
    for (const std::string& address : addresses) list.push_back(*Endpoint::parse(address));
    return answer_to(*read_query(asked_), Rcode::NoError, list);
  }

  TapeSources sources() {
    TapeSources out;
    out.recorded = [this](std::string_view name, uint16_t type) -> std::optional<Lookup> {
      const auto found = recorded_.find({std::string(name), type});
      return found == recorded_.end() ? std::nullopt : std::optional(found->second);
    };
    out.addresses = [this](std::string_view name) -> std::optional<std::vector<Endpoint>> {
      const auto found = tape_.find(name);
      return found == tape_.end() ? std::nullopt : std::optional(found->second);
    };
    out.on_unknown = [this](const Asker& asker, const std::string& name) {
      EXPECT_EQ(asker.pid, asker_.pid);
      unknown_.push_back(name);
    };
    out.search = {"corp.lan"};
    return out;
  }

  std::map<std::string, std::vector<Endpoint>, std::less<>> tape_;
  std::map<std::pair<std::string, unsigned>, Lookup> recorded_;
  std::vector<std::string> unknown_;
  std::string asked_;
  const Asker asker_ = {{}, 0, 0, 4711, {}, nullptr};
  TapeAnswers answers_{sources()};
};

TEST_F(TapeAnswersTest, ANameOnTapeHasItsAddresses) {
  on_tape("api.example", {"192.0.2.1", "2001:db8::1", "192.0.2.2"});
  EXPECT_EQ(ask("API.example"), with({"192.0.2.1", "192.0.2.2"}));
  EXPECT_EQ(ask("api.example", kAaaa), with({"2001:db8::1"}));
  EXPECT_EQ(ask("api.example", kHttps), nothing());
  EXPECT_EQ(ask("api.example", 15), nothing()) << "MX";
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
}

TEST_F(TapeAnswersTest, TheRootIsThereAndOtherClassesAreNot) {
  EXPECT_EQ(ask("", 2), nothing());
  EXPECT_EQ(ask("version.bind", 16, 3), reply_to(asked_, 0x8185)) << "CHAOS";
  EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(TapeAnswersTest, OnlySoManyNamesAreKept) {
  for (size_t i = 0; i < TapeAnswers::kMostReported + 5; ++i) EXPECT_EQ(ask("n" + std::to_string(i)), no_such_name());
  EXPECT_EQ(unknown_.size(), TapeAnswers::kMostReported);
}

TEST_F(TapeAnswersTest, WhatIsNotKnownMayBeLeftToOthers) {
  on_tape("api.example", {"192.0.2.1"});
  EXPECT_TRUE(answers_.of_known(*read_query(query_of(7, "api.example", kA))));
  EXPECT_FALSE(answers_.of_known(*read_query(query_of(7, "new.example", kA))));
  EXPECT_FALSE(answers_.of_known(*read_query(query_of(7, "api.example", kA, {}, 3)))) << "CHAOS";
  EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(TapeAnswersTest, WhatTheResolverSaidIsSaidAgain) {
  const std::string mail = record(15, word(10) + wire_name("mx.example"));
  answered("API.example", kA, 0x8180, 2, record(kA, "abcd") + record(kA, "efgh"));
  answered("api.example", 15, 0x8580, 1, mail);
  answered("4.3.2.1.in-addr.arpa", 12, 0x8180, 1, record(12, wire_name("api.example")));
  answered("", 2, 0x8180, 1, record(2, wire_name("a.root"), bytes("\0")));
  on_tape("api.example", {"192.0.2.1"});
  EXPECT_EQ(ask("api.Example"), reply_to(asked_, 0x8180, 2, record(kA, "abcd") + record(kA, "efgh")))
      << "rather than the addresses of its exchanges";
  EXPECT_EQ(ask("api.example", 15), reply_to(asked_, 0x8580, 1, mail));
  EXPECT_EQ(ask("4.3.2.1.in-addr.arpa", 12), reply_to(asked_, 0x8180, 1, record(12, wire_name("api.example"))));
  EXPECT_EQ(ask("", 2), reply_to(asked_, 0x8180, 1, record(2, wire_name("a.root"), bytes("\0"))));
  EXPECT_EQ(ask("api.example", kA, 3), reply_to(asked_, 0x8185)) << "of the Internet's class alone";
}

TEST_F(TapeAnswersTest, WhoWasNotAnsweredFailsAtOnce) {
  not_answered("silent.example", kA, LookupEnd::Silent);
  not_answered("gone.example", kA, LookupEnd::Unreachable);
  answered("failing.example", kA, 0x8182);
  answered("odd.example", kA, 0x8180, 9);
  for (const char* name : {"silent.example", "gone.example", "failing.example", "odd.example"}) {
    EXPECT_EQ(ask(name), failure()) << name;
  }
  EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(TapeAnswersTest, WhatWasTruncatedIsTruncatedAgainWhereNoAddressIsKnown) {
  for (const uint16_t type : {kA, kAaaa, uint16_t{16}}) answered("big.example", type, 0x8380, 1, record(kA, "abcd"));
  answered("named.example", kA, 0x8380);
  answered("named.example", 16, 0x8380);
  answered("proxied.example", kA, 0x8380);
  on_tape("named.example", {"192.0.2.1", "2001:db8::1"});
  on_tape("proxied.example", {});
  for (const uint16_t type : {kA, kAaaa, uint16_t{16}}) {
    EXPECT_EQ(ask("big.example", type), reply_to(asked_, 0x8380, 1, record(kA, "abcd"))) << type;
  }
  EXPECT_EQ(ask("big.example", 15), nothing()) << "the name was there";
  EXPECT_EQ(ask("named.example"), with({"192.0.2.1"})) << "which need no TCP";
  EXPECT_EQ(ask("named.example", kAaaa), with({"2001:db8::1"}));
  EXPECT_EQ(ask("named.example", 16), reply_to(asked_, 0x8380)) << "addresses are of no use";
  EXPECT_EQ(ask("proxied.example"), with({synthetic_address("proxied.example").ip()}));
  EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(TapeAnswersTest, OfANameThatWasThereOtherTypesAreNothing) {
  answered("four.example", kA, 0x8180, 1, record(kA, "abcd"));
  answered("six.example", kAaaa, 0x8180);
  EXPECT_EQ(ask("four.example", kAaaa), nothing());
  EXPECT_EQ(ask("four.example", 15), nothing());
  EXPECT_EQ(ask("six.example"), nothing());
  EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(TapeAnswersTest, ATypeThatWasNotRecordedHasTheAddressesOfItsExchanges) {
  answered("six.example", kAaaa, 0x8183);
  on_tape("six.example", {"192.0.2.1", "2001:db8::1"});
  EXPECT_EQ(ask("six.example"), with({"192.0.2.1"}));
  EXPECT_EQ(ask("six.example", kAaaa), no_such_name()) << "as recorded";
}

TEST_F(TapeAnswersTest, OfANameThatWasNotThereNothingIsThere) {
  answered("none.example", kA, 0x8183);
  answered("torn.example", kA, 0x8183);
  answered("torn.example", kAaaa, 0x8180);
  not_answered("mixed.example", kA, LookupEnd::Silent);
  answered("mixed.example", kAaaa, 0x8183);
  not_answered("silent.example", kAaaa, LookupEnd::Silent);
  EXPECT_EQ(ask("none.example"), no_such_name());
  EXPECT_EQ(ask("none.example", kAaaa), no_such_name());
  EXPECT_EQ(ask("torn.example", 15), nothing()) << "a type of it was there";
  EXPECT_EQ(ask("mixed.example", 15), no_such_name()) << "more than that nobody answered";
  EXPECT_EQ(ask("silent.example"), failure());
  EXPECT_THAT(unknown_, IsEmpty()) << "it is known that they fail";
}

TEST_F(TapeAnswersTest, ServicesAreNotThereWhateverWasRecorded) {
  answered("api.example", kHttps, 0x8180, 1, record(kHttps, "h3"));
  answered("svcb.example", kSvcb, 0x8182);
  answered("none.example", kA, 0x8183);
  not_answered("silent.example", kA, LookupEnd::Silent);
  EXPECT_EQ(ask("api.example", kHttps), nothing());
  EXPECT_EQ(ask("api.example", kSvcb), no_such_name()) << "nothing else is known of it";
  EXPECT_EQ(ask("svcb.example", kSvcb), nothing());
  EXPECT_EQ(ask("none.example", kHttps), no_such_name());
  EXPECT_EQ(ask("silent.example", kHttps), nothing());
}

TEST_F(TapeAnswersTest, ASearchDomainBehindWhatWasRecordedIsNotReported) {
  answered("api.example", kAaaa, 0x8180);
  not_answered("silent.example", kA, LookupEnd::Silent);
  EXPECT_EQ(ask("api.example.corp.lan"), no_such_name());
  EXPECT_EQ(ask("silent.example.corp.lan"), no_such_name());
  EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(TapeAnswersTest, WithoutSourcesNothingIsKnown) {
  TapeAnswers answers{TapeSources()};
  const std::string query = query_of(7, "api.example", kA);
  EXPECT_EQ(answers.of(*read_query(query), asker_), reply_to(query, 0x8183));
}

}  // namespace
}  // namespace tapdeck::names
