#include "daemon/modes/websocket_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

using config::WebSocketMode;
using config::WebSocketPace;
using store::BodySide;
using store::Message;
using ::testing::ElementsAre;
using Kind = Message::Kind;

// A recording in the making: "> text hi" lines as messages.
struct Tale {
  store::Recording recording;
  std::string bodies[2];
  uint64_t clock = 0;

  Tale& say(BodySide side, Kind kind, const std::string& payload, uint16_t code = 0) {
    Message message;
    message.side = side;
    message.kind = kind;
    message.code = code;
    std::string& body = bodies[static_cast<size_t>(side)];
    message.offset = body.size();
    message.length = payload.size();
    message.microseconds = clock += 1000;
    body += payload;
    recording.messages.push_back(message);
    return *this;
  }
  Tale& client(const std::string& payload) { return say(BodySide::Request, Kind::Text, payload); }
  Tale& origin(const std::string& payload) { return say(BodySide::Response, Kind::Text, payload); }
  [[nodiscard]] WebSocketScript script(config::WebSocket options) const {
    return {recording, bodies[0], bodies[1], options};
  }
};

std::vector<std::string> due(WebSocketScript& script, uint64_t now = 0) {
  std::vector<std::string> out;
  while (auto line = script.next(now)) out.push_back(line->payload);
  return out;
}

// Why the client's message is none that is expected; empty: it is one.
std::string wrong_with(WebSocketScript& script, Kind kind, const std::string& payload) {
  return script.received(kind, payload, 0) ? "" : script.mismatch(kind, payload).reason;
}
std::string wrong_with(WebSocketScript&& script, Kind kind, const std::string& payload) {
  return wrong_with(script, kind, payload);
}

config::WebSocket options(WebSocketMode mode, std::vector<std::string> ignore = {},
                          WebSocketPace pace = WebSocketPace::Instant) {
  config::WebSocket out;
  out.mode = mode;
  out.ignore = std::move(ignore);
  out.pace = pace;
  return out;
}

TEST(WebSocketScript, AnswersWaitForTheMessageTheyFollowed) {
  for (const WebSocketMode mode : {WebSocketMode::Matched, WebSocketMode::Bidirectional}) {
    const Tale tale = Tale().origin("hello").client("a").origin("A1").origin("A2").client("b").origin("B");
    WebSocketScript script = tale.script(options(mode));
    EXPECT_THAT(due(script), ElementsAre("hello"));
    EXPECT_FALSE(script.is_over());
    EXPECT_TRUE(script.received(Kind::Text, "a", 0));
    EXPECT_THAT(due(script), ElementsAre("A1", "A2"));
    EXPECT_TRUE(script.received(Kind::Text, "b", 0));
    EXPECT_THAT(due(script), ElementsAre("B"));
    EXPECT_TRUE(script.is_over());
  }
}

TEST(WebSocketScript, BidirectionalWantsTheOrderAndTheBytes) {
  const Tale tale = Tale().client("{\"a\":1}").client("b").say(BodySide::Request, Kind::Binary, "c");
  EXPECT_EQ(wrong_with(tale.script(options(WebSocketMode::Bidirectional)), Kind::Text, "b"),
            "message 1: differs at byte 0");
  EXPECT_EQ(wrong_with(tale.script(options(WebSocketMode::Bidirectional)), Kind::Text, "{\"a\": 1}"),
            "message 1: differs at byte 5");
  WebSocketScript script = tale.script(options(WebSocketMode::Bidirectional));
  EXPECT_TRUE(script.received(Kind::Text, "{\"a\":1}", 0));
  EXPECT_TRUE(script.received(Kind::Text, "b", 0));
  EXPECT_EQ(wrong_with(script, Kind::Text, "c"), "message 3: binary expected, text received");
  EXPECT_TRUE(script.received(Kind::Binary, "c", 0));
  EXPECT_EQ(wrong_with(script, Kind::Text, "a"), "message 5: only 3 recorded, and it is none of them");
}

TEST(WebSocketScript, MatchedTakesAnyOrderAndRepeatsTheLast) {
  const Tale tale = Tale().client("a").origin("A").client("b").origin("B").client("b").origin("BB");
  WebSocketScript script = tale.script(options(WebSocketMode::Matched));
  EXPECT_TRUE(script.received(Kind::Text, "b", 0));
  EXPECT_TRUE(script.received(Kind::Text, "a", 0));
  EXPECT_TRUE(script.received(Kind::Text, "b", 0));
  EXPECT_FALSE(script.received(Kind::Text, "c", 0));
  EXPECT_TRUE(script.received(Kind::Text, "b", 0)) << "once more than recorded";
  EXPECT_THAT(due(script), ElementsAre("B", "A", "BB", "BB"));
  EXPECT_TRUE(script.is_over());
}

TEST(WebSocketScript, MatchedComparesJsonByValueAndCarriesFreshIds) {
  const Tale tale = Tale()
                        .client(R"({"id":"r1","type":"subscribe","n":1})")
                        .origin(R"({"id":"r1","data":1})")
                        .origin(R"({"id":"zzz"})");
  WebSocketScript script = tale.script(options(WebSocketMode::Matched, {"$.id"}));
  EXPECT_EQ(wrong_with(script, Kind::Text, R"({"id":"n1","type":"subscribe","n":2})"), "message 1: differs at $.n");
  EXPECT_EQ(wrong_with(script, Kind::Binary, "x"), "message 2: text expected, binary received");
  EXPECT_TRUE(script.received(Kind::Text, R"({"n":1, "type":"subscribe", "id":"n1"})", 0));
  EXPECT_THAT(due(script), ElementsAre(R"({"id":"n1","data":1})", R"({"id":"zzz"})"));
}

TEST(WebSocketScript, ServerOnlyAsksForNothing) {
  const Tale tale = Tale().client("a").origin("A").client("b").origin("B");
  WebSocketScript script = tale.script(options(WebSocketMode::ServerOnly));
  EXPECT_THAT(due(script), ElementsAre("A", "B"));
  EXPECT_TRUE(script.is_over());
  EXPECT_TRUE(script.received(Kind::Binary, "whatever", 0));
}

TEST(WebSocketScript, RecordedPaceCountsFromTheMessageThatCausedIt) {
  Tale tale;
  tale.origin("open").client("a");
  tale.clock += 50'000;
  tale.origin("later");
  WebSocketScript script = tale.script(options(WebSocketMode::Matched, {}, WebSocketPace::Recorded));
  EXPECT_THAT(due(script, 999), ElementsAre());
  EXPECT_THAT(due(script, 1000), ElementsAre("open"));
  EXPECT_FALSE(script.next_due());
  EXPECT_TRUE(script.received(Kind::Text, "a", 7'000'000));
  EXPECT_EQ(script.next_due(), 7'051'000U);
  EXPECT_THAT(due(script, 7'051'000), ElementsAre("later"));
}

TEST(WebSocketScript, WhatNothingCausedCountsFromTheOpening) {
  for (const WebSocketMode mode : {WebSocketMode::Matched, WebSocketMode::ServerOnly}) {
    Tale tale;
    tale.clock = 900'000;
    tale.origin("hello").say(BodySide::Response, Kind::Close, "", 1001);
    tale.recording.provenance.timings.first_byte = 900'000;
    WebSocketScript script = tale.script(options(mode, {}, WebSocketPace::Recorded));
    EXPECT_THAT(due(script, 999), ElementsAre());
    EXPECT_THAT(due(script, 1000), ElementsAre("hello"));
    EXPECT_EQ(script.next_due(), 2000U);
  }
}

TEST(WebSocketScript, TheCloseHasItsMomentBehindTheLastAnswer) {
  for (const WebSocketMode mode : {WebSocketMode::Matched, WebSocketMode::Bidirectional}) {
    Tale tale;
    tale.client("a").origin("A");
    tale.clock += 2'000'000;
    tale.say(BodySide::Response, Kind::Close, "", 1001);
    WebSocketScript script = tale.script(options(mode, {}, WebSocketPace::Recorded));
    EXPECT_FALSE(script.next_due());
    EXPECT_TRUE(script.received(Kind::Text, "a", 500));
    EXPECT_THAT(due(script, 1500), ElementsAre("A"));
    EXPECT_FALSE(script.is_over());
    EXPECT_EQ(script.next_due(), 2'002'500U);
    EXPECT_THAT(due(script, 2'002'500), ElementsAre());
    EXPECT_TRUE(script.is_over());
    EXPECT_FALSE(script.next_due()) << "nothing is waited for any more";
    WebSocketScript instant = tale.script(options(mode));
    EXPECT_TRUE(instant.received(Kind::Text, "a", 0));
    EXPECT_THAT(due(instant), ElementsAre("A"));
    EXPECT_TRUE(instant.is_over());
  }
}

TEST(WebSocketScript, AConnectionThatOnlyTheOriginSpokeOnEndsWhenItDid) {
  for (const WebSocketMode mode : {WebSocketMode::Matched, WebSocketMode::ServerOnly}) {
    Tale tale = Tale().origin("hello");
    tale.recording.provenance.timings.total = 3'000'000;  // no Close: the socket was closed
    WebSocketScript script = tale.script(options(mode, {}, WebSocketPace::Recorded));
    EXPECT_THAT(due(script, 1000), ElementsAre("hello"));
    EXPECT_EQ(script.next_due(), 3'000'000U);
    EXPECT_FALSE(script.is_over());
    EXPECT_THAT(due(script, 3'000'000), ElementsAre());
    EXPECT_TRUE(script.is_over());
    tale.recording.outcome.kind = store::Outcome::Kind::Incomplete;
    WebSocketScript broken = tale.script(options(mode, {}, WebSocketPace::Recorded));
    EXPECT_THAT(due(broken, 1000), ElementsAre("hello"));
    EXPECT_THAT(due(broken, 1000), ElementsAre());
    EXPECT_TRUE(broken.is_over()) << "what came behind it is not known";
  }
}

using Spoken = WebSocketScript::Spoken;
Spoken heard(const std::string& payload, uint64_t at = 0) {
  return {BodySide::Request, Kind::Text, payload, at};
}
Spoken sent(const std::string& payload) {
  return {BodySide::Response, Kind::Text, payload, 0};
}

TEST(WebSocketScript, AnotherGoesOnWhereAllThatWasSaidAgrees) {
  const Tale tale = Tale()
                        .origin(R"({"conn":7,"hi":1})")
                        .say(BodySide::Response, Kind::Ping, "alive?")
                        .client("sub B")
                        .origin("B1")
                        .origin(R"({"conn":7,"n":2})");
  const auto fresh = [&] { return tale.script(options(WebSocketMode::Matched, {"$.conn"}, WebSocketPace::Recorded)); };
  WebSocketScript script = fresh();
  EXPECT_TRUE(script.catches_up({sent(R"({"hi":1,"conn":9})"), heard("sub B", 5000)}));
  EXPECT_THAT(due(script, 6999), ElementsAre("alive?", "B1"));
  EXPECT_THAT(due(script, 7000), ElementsAre(R"({"conn":9,"n":2})")) << "the client knows it as 9";
  WebSocketScript ahead = fresh();
  EXPECT_TRUE(ahead.catches_up({sent(R"({"conn":7,"hi":1})"), heard("sub B"), sent("B1")}));
  EXPECT_FALSE(fresh().catches_up({sent(R"({"conn":7,"hi":2})")}));
  EXPECT_FALSE(fresh().catches_up({sent(R"({"conn":7,"hi":1})"), heard("sub A")}));
  EXPECT_FALSE(fresh().catches_up({sent(R"({"conn":7,"hi":1})"), sent("B1")})) << "it waits for the client";
}

TEST(WebSocketScript, ControlFramesAreNoQuestionsAndClosesAreApart) {
  Tale tale =
      Tale().client("a").say(BodySide::Request, Kind::Ping, "p").say(BodySide::Response, Kind::Pong, "p").origin("A");
  tale.say(BodySide::Response, Kind::Ping, "alive?").say(BodySide::Request, Kind::Pong, "alive?");
  tale.say(BodySide::Response, Kind::Close, "bye", 1001).client("late").say(BodySide::Request, Kind::Close, "", 1001);
  WebSocketScript script = tale.script(options(WebSocketMode::Matched));
  EXPECT_TRUE(script.received(Kind::Text, "a", 0));
  EXPECT_THAT(due(script), ElementsAre("A", "alive?"));
  EXPECT_TRUE(script.is_over()) << "what crossed the origin's Close need not come again";
  ASSERT_TRUE(script.close());
  EXPECT_EQ(script.close()->code, 1001);
  EXPECT_EQ(script.close()->reason, "bye");
  EXPECT_FALSE(script.client_closes_first());
  EXPECT_TRUE(script.client_closes());
  Tale other = Tale().say(BodySide::Request, Kind::Close, "", 1000).say(BodySide::Response, Kind::Close, "", 1000);
  EXPECT_TRUE(other.script(options(WebSocketMode::Matched)).client_closes_first());
  Tale third = Tale().say(BodySide::Response, Kind::Close, "", 1000);
  EXPECT_FALSE(third.script(options(WebSocketMode::Matched)).client_closes());
}

}  // namespace
}  // namespace tapdeck::modes
