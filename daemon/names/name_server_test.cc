#include "daemon/names/name_server.h"

#include <gmock/gmock.h>

#include <future>

#include "daemon/base/no_threads.h"
#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

using namespace std::chrono_literals;

// The client's resolver; it is asked inside at this address, and listens there outside.
constexpr const char* kResolver = "127.84.0.53";

class NameServerTest : public testing::Test {
 protected:
  void start(Ask ask, std::chrono::milliseconds patience = 1h) {
    LoopbackUdp v4("0.0.0.0");
    NameServerOptions options;
    client_.connect(kResolver, v4.port());
    options.v4 = v4.take();
    options.ask = ask;
    options.tape = [](std::string_view name) -> std::optional<std::vector<Endpoint>> {
      if (name != "api.example") return std::nullopt;
      return std::vector{*Endpoint::parse("192.0.2.1")};
    };
    options.outside = [this](std::string_view name) { return name == outside_name_ ? outside_ : Outside::No; };
    options.reaches_v6 = false;
    options.on_unknown = [this](const std::string& name) { unknown_.set_value(name); };
    options.patience = patience;
    options.port = resolver_.port();
    auto server = NameServer::start(std::move(options));
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
  }
  std::string ask(const std::string& datagram) {
    client_.say(datagram);
    return client_.hear();
  }
  // The resolver's answer is `flags` alone.
  std::string ask_and_reply(const std::string& datagram, unsigned flags) {
    client_.say(datagram);
    resolver_.answer(reply_to(resolver_.hear(), flags));
    return client_.hear();
  }
  static std::string from_tape(const std::string& query) {
    return reply_to(query, 0x8180, 1) + bytes("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1");
  }

  const std::string known_ = query_of(7, "Api.example", kA);
  const std::string other_ = query_of(8, "other.example", kA);
  LoopbackUdp client_{"127.0.0.1"};
  LoopbackUdp resolver_{kResolver};
  std::string outside_name_;
  Outside outside_ = Outside::No;  // of that name
  std::promise<std::string> unknown_;
  std::unique_ptr<NameServer> server_;
};

TEST_F(NameServerTest, ReplayAnswersFromTapeAlone) {
  start(Ask::TapeOnly);
  EXPECT_EQ(ask(known_), from_tape(known_));
  EXPECT_EQ(ask(other_), reply_to(other_, 0x8183));
  EXPECT_EQ(unknown_.get_future().get(), "other.example");
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

TEST_F(NameServerTest, MalformedDatagramsAreToldOrDropped) {
  start(Ask::TapeOnly);
  client_.say("short");
  client_.say(reply_to(known_, 0x8180));
  const std::string cut = known_.substr(0, 20);
  EXPECT_EQ(ask(cut), word(7) + word(0x8101) + std::string(8, '\0'));
  EXPECT_EQ(ask(known_), from_tape(known_));
  EXPECT_EQ(server_->counts().malformed, 3u);
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
}

TEST_F(NameServerTest, Ipv6IsServedToo) {
  LoopbackUdp v6("::"), client("::1");
  if (!client.is_bound()) GTEST_SKIP() << "no IPv6 on the loopback interface";
  client.connect("::1", v6.port());
  NameServerOptions options;
  options.v6 = v6.take();
  options.tape = [](std::string_view) { return std::nullopt; };
  const auto server = NameServer::start(std::move(options));
  ASSERT_TRUE(server);
  client.say(other_);
  EXPECT_EQ(client.hear(), reply_to(other_, 0x8183));
}

TEST_F(NameServerTest, ItEndsWhileQuestionsAreOpen) {
  start(Ask::OutsideFirst);
  client_.say(known_);
  EXPECT_EQ(resolver_.hear(), known_);
  server_.reset();
}

TEST_F(NameServerTest, WithoutASocketOrAThreadItIsNotStarted) {
  const auto none = NameServer::start({});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::InvalidArgument);
  NameServerOptions options;
  options.v4 = LoopbackUdp("0.0.0.0").take();
  const NoThreads no_threads;
  const auto refused = NameServer::start(std::move(options));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::Exhausted);
}

}  // namespace
}  // namespace tapdeck::names
