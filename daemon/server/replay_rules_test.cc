// What replay makes of a recording for a request that asks for it in another way, and what failures leave on the tape.
#include <gmock/gmock.h>

#include "daemon/coding/decoder.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string ask_for(const std::string& target, const std::string& fields = {}, const std::string& method = "GET") {
  return method + " " + target + " HTTP/1.1\r\nHost: api.test\r\n" + fields + "\r\n";
}

std::string gzip(const std::string& text) {
  coding::Encoder encoder(coding::Coding::Gzip);
  std::string out;
  EXPECT_TRUE(encoder.feed(text, out));
  EXPECT_TRUE(encoder.finish(out));
  return out;
}

// An origin with one answer for everything, recorded with `requests`; the rig is in replay afterwards.
struct Taped {
  Taped(const std::string& response, const std::vector<std::string>& requests, RigOptions options = {})
      : rig(std::move(options)), origin(http_origin([response](const std::string&) { return response; })) {
    rig.go_to(origin.endpoint());
    for (const std::string& request : requests) recorded.push_back(rig.ask(request));
    // A failure is not held back until its recording is safe.
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == requests.size(); }));
    origin.stop();
    rig.set_mode(Mode::Replay);
  }
  WorkerRig rig;
  ScriptedOrigin origin;
  std::vector<std::string> recorded;
};

const std::string kTagged =
    "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n0123456789";

TEST(ReplayRules, ARecordedGetAnswersHeadConditionsAndRanges) {
  Taped taped(kTagged, {ask_for("/a")});
  for (int turn = 0; turn < 2; ++turn) {  // from disk, then from memory
    EXPECT_EQ(taped.rig.ask(ask_for("/a")), kTagged + "<EOF>");
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "", "HEAD")),
              "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n<EOF>");
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "If-None-Match: W/\"v1\"\r\n")),
              "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n<EOF>");
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "If-None-Match: \"v2\"\r\n")), kTagged + "<EOF>");
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "If-Match: \"v2\"\r\n")),
              "HTTP/1.1 412 Precondition Failed\r\nETag: \"v1\"\r\nContent-Length: 0\r\n\r\n<EOF>");
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "Range: bytes=2-4\r\n")),
              "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
              "Content-Range: bytes 2-4/10\r\n\r\n234<EOF>");
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "Range: bytes=10-\r\n")),
              "HTTP/1.1 416 Range Not Satisfiable\r\nETag: \"v1\"\r\nContent-Length: 0\r\n"
              "Content-Range: bytes */10\r\n\r\n<EOF>");
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "Range: bytes=0-1,4-5\r\n")), kTagged + "<EOF>");
  }
}

TEST(ReplayRules, AConditionThatFirstGotTheWholeGetsItFirstAgain) {
  WorkerRig rig;
  int asked = 0;
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    return ++asked == 1 ? kTagged : "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n";
  }));
  rig.go_to(origin.endpoint());
  const std::string request = ask_for("/a", "If-None-Match: \"v1\"\r\n");
  const std::string first = rig.ask(request), second = rig.ask(request);
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(request), first);
  EXPECT_EQ(rig.ask(request), second);
}

TEST(ReplayRules, ACloseDelimitedAnswerWithoutABodyStaysOne) {
  const std::string recorded = "HTTP/1.0 200 OK\r\nServer: x\r\n\r\n";
  Taped taped(recorded + "<FIN>", {ask_for("/a")});
  EXPECT_EQ(taped.recorded[0], recorded + "<EOF>");
  EXPECT_EQ(taped.rig.ask(ask_for("/a")), taped.recorded[0]);
}

TEST(ReplayRules, ARangeOfABodyThatIsStreamedFromTheStoreIsExact) {
  std::string body(3 << 20, 'x');
  for (size_t i = 0; i < body.size(); i += 7) body[i] = static_cast<char>('a' + i % 23);
  Taped taped(with_length(body), {ask_for("/a")});
  const size_t from = (256 << 10) * 5 - 3, to = (256 << 10) * 7 + 1;
  const std::string range = "Range: bytes=" + std::to_string(from) + "-" + std::to_string(to) + "\r\n";
  const std::string answer = taped.rig.ask(ask_for("/a", range));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n" + body.substr(from, to - from + 1) + "<EOF>"));
}

TEST(ReplayRules, APartialOrNotModifiedAnswerNeverAnswersAPlainRequest) {
  const std::string part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/10\r\nContent-Length: 2\r\n\r\n01";
  Taped partial(part, {ask_for("/a", "Range: bytes=0-1\r\n")});
  EXPECT_EQ(partial.rig.ask(ask_for("/a", "Range: bytes=0-1\r\n")), part + "<EOF>");
  EXPECT_THAT(partial.rig.ask(ask_for("/a")), HasSubstr("not_recorded"));
  EXPECT_THAT(partial.rig.ask(ask_for("/a", "Range: bytes=0-2\r\n")), HasSubstr("not_recorded"));
  Taped unchanged("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n", {ask_for("/a", "If-None-Match: \"e\"\r\n")});
  EXPECT_THAT(unchanged.rig.ask(ask_for("/a", "If-None-Match: \"e\"\r\n")), StartsWith("HTTP/1.1 304"));
  EXPECT_THAT(unchanged.rig.ask(ask_for("/a")), HasSubstr("not_recorded"));
}

TEST(ReplayRules, APollerSeesTheChangeWhereItWasRecorded) {
  WorkerRig rig;
  int asked = 0;
  const std::string second = "HTTP/1.1 200 OK\r\nETag: \"v2\"\r\nContent-Length: 3\r\n\r\nnew";
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    ++asked;
    return asked == 1 ? kTagged : asked == 4 ? second : "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n";
  }));
  rig.go_to(origin.endpoint());
  const std::string poll = ask_for("/a", "If-None-Match: \"v1\"\r\n");
  const std::vector<std::string> requests = {ask_for("/a"), poll, poll, poll};
  std::vector<std::string> recorded, replayed;
  for (const std::string& request : requests) recorded.push_back(rig.ask(request));
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (const std::string& request : requests) replayed.push_back(rig.ask(request));
  EXPECT_EQ(replayed, recorded);
  EXPECT_EQ(replayed.back(), second + "<EOF>");
}

TEST(ReplayRules, AClientThatTakesNoGzipGetsPlainBytesOfTheRightLength) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "line " + std::to_string(i) + "\n";
  const std::string coded = gzip(text);
  const std::string response =
      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nETag: \"z\"\r\nContent-Length: " + std::to_string(coded.size()) +
      "\r\n\r\n" + coded;
  Taped taped(response, {ask_for("/a", "Accept-Encoding: gzip\r\n")});
  const std::string plain =
      "HTTP/1.1 200 OK\r\nETag: W/\"z\"\r\nVary: Accept-Encoding\r\nContent-Length: " + std::to_string(text.size()) +
      "\r\n\r\n" + text + "<EOF>";
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "Accept-Encoding: gzip, br\r\n")), response + "<EOF>");
    EXPECT_EQ(taped.rig.ask(ask_for("/a")), plain);
    EXPECT_EQ(taped.rig.ask(ask_for("/a", "Accept-Encoding: identity\r\n")), plain);
  }
  EXPECT_THAT(taped.rig.ask(ask_for("/a", "Accept-Encoding: br, identity;q=0\r\n")),
              HasSubstr("Content-Encoding: br\r\n"));
  const std::string head = taped.rig.ask(ask_for("/a", "", "HEAD"));
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(head, Not(HasSubstr("gzip")));
}

TEST(ReplayRules, ALongCodedBodyIsDecodedAsItStreams) {
  std::string text;
  for (unsigned i = 0; text.size() < 5U << 20; ++i) text += std::to_string(i * 2654435761U) + "\n";
  const std::string coded = gzip(text);
  ASSERT_GT(coded.size(), 1U << 20) << "not the cached case";
  Taped taped("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " + std::to_string(coded.size()) +
                  "\r\n\r\n" + coded,
              {ask_for("/a", "Accept-Encoding: gzip\r\n")});
  const std::string answer = taped.rig.ask(ask_for("/a"));
  EXPECT_THAT(answer.substr(0, 300), HasSubstr("Transfer-Encoding: chunked"));
  std::string body, rest = answer.substr(answer.find("\r\n\r\n") + 4);
  while (!rest.starts_with("0\r\n") && rest.contains("\r\n")) {
    const size_t size = std::stoul(rest, nullptr, 16);
    body += rest.substr(rest.find("\r\n") + 2, size);
    rest.erase(0, rest.find("\r\n") + 2 + size + 2);
  }
  EXPECT_TRUE(body == text);
}

TEST(ReplayRules, AClientThatWaitsForContinueGetsIt) {
  const std::string fields = "Expect: 100-continue\r\nContent-Length: 3\r\n";
  Taped taped(kTagged, {"POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\n\r\nabc"});
  Wire wire = taped.rig.connect();
  EXPECT_TRUE(wire.write(ask_for("/a", fields, "POST")));
  EXPECT_EQ(wire.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(wire.write("abc"));
  wire.half_close();
  EXPECT_EQ(wire.rest(), kTagged + "<EOF>");
}

TEST(ReplayRules, TheSameBodyMatchesCompressedOrNot) {
  const auto post = [](const std::string& body, const std::string& fields = {}) {
    return ask_for("/a", fields + "Content-Length: " + std::to_string(body.size()) + "\r\n", "POST") + body;
  };
  Taped taped(kTagged, {post(gzip("the body"), "Content-Encoding: gzip\r\n")});
  EXPECT_EQ(taped.rig.ask(post("the body")), kTagged + "<EOF>");
  EXPECT_EQ(taped.rig.ask(post(gzip("the body"), "Content-Encoding: x-gzip\r\n")), kTagged + "<EOF>");
  EXPECT_THAT(taped.rig.ask(post("another body")), HasSubstr("not_recorded"));
}

TEST(Failures, AnOriginThatRefusesIsReplayedAsTheSameAnswer) {
  WorkerRig rig;
  rig.go_to(*Endpoint::parse("127.0.0.1:1"));
  const std::string recorded = rig.ask(ask_for("/a"));
  EXPECT_THAT(recorded, StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(recorded, HasSubstr("upstream_connect"));
  EXPECT_EQ(rig.count(Counter::RecordingFailed), 1U);
  rig.set_mode(Mode::Replay);
  const int dialled = rig.sockets.made;
  EXPECT_EQ(rig.ask(ask_for("/a")), recorded);
  EXPECT_EQ(rig.ask(ask_for("/a")), recorded);
  EXPECT_EQ(rig.sockets.made, dialled);
  const auto page = tls::testing::must(rig.store->list_recordings({}));
  ASSERT_EQ(page.items.size(), 1U);
  EXPECT_EQ(page.items[0].outcome.kind, store::Outcome::Kind::Failed);
  EXPECT_EQ(page.items[0].outcome.code, static_cast<uint32_t>(ECONNREFUSED));
}

TEST(Failures, AnOriginThatSaysNothingIsReplayedAsTheSameAnswer) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return "<FIN>"; }));
  rig.go_to(origin.endpoint());
  const std::string recorded = rig.ask(ask_for("/a"));
  EXPECT_THAT(recorded, HasSubstr("upstream_truncated"));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(ask_for("/a")), recorded);
}

TEST(Failures, HybridTriesTheOriginAgainInsteadOfPlayingAFailure) {
  WorkerRig rig;
  rig.go_to(*Endpoint::parse("127.0.0.1:1"));
  EXPECT_THAT(rig.ask(ask_for("/a")), StartsWith("HTTP/1.1 502"));
  ScriptedOrigin origin(http_origin([](const std::string&) { return kTagged; }));
  rig.go_to(origin.endpoint());
  rig.set_mode(Mode::Hybrid);
  EXPECT_EQ(rig.ask(ask_for("/a")), kTagged + "<EOF>");
}

TEST(Failures, AnOriginThatDiesInTheMiddleIsReplayedToTheSameByte) {
  Taped taped("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly so far<RST>", {ask_for("/a")});
  EXPECT_THAT(taped.recorded[0], EndsWith("only so far<RST>"));
  EXPECT_EQ(taped.rig.ask(ask_for("/a")), taped.recorded[0]);
}

TEST(Failures, AnOriginThatClosesInTheMiddleIsReplayedAsThat) {
  for (const char* part :
       {"Content-Length: 100\r\n\r\nonly so far<FIN>", "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n<FIN>",
        "Transfer-Encoding: chunked\r\n\r\n<FIN>"}) {
    Taped taped(std::string("HTTP/1.1 200 OK\r\n") + part, {ask_for("/a")});
    EXPECT_THAT(taped.recorded[0], EndsWith("<EOF>")) << "an end, not a reset: as the origin did";
    EXPECT_THAT(taped.recorded[0], Not(HasSubstr("\r\n0\r\n")));
    EXPECT_EQ(taped.rig.ask(ask_for("/a")), taped.recorded[0]);
  }
}

TEST(Failures, WhatAClientLeftBehindDoesNotBeatAWholeRecording) {
  WorkerRig rig;
  std::atomic<int> connections{0};
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    const bool is_first = ++connections == 1;
    wire.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n01234");
    if (is_first) wire.write("56789");
    if (!is_first) wire.read_until("\r\n\r\n");  // until the proxy gives up, when its client is gone
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(ask_for("/a")), EndsWith("0123456789<EOF>"));
  rig.set_mode(Mode::Record);  // a newer take
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(ask_for("/a")));
  EXPECT_THAT(wire.read_until("01234"), EndsWith("01234"));
  wire.reset();
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::RecordingIncomplete) == 1; }));
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(ask_for("/a")), EndsWith("0123456789<EOF>"));
}

TEST(Streaming, AnEventArrivesBeforeTheNextIsProduced) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const char* event : {"9\r\ndata: a\n\n\r\n", "9\r\ndata: b\n\n\r\n"}) {
      wire.write(event);
      wire.read_until("ack");  // the client's word, outside HTTP: it has seen this event
    }
    wire.write("0\r\n\r\n");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  // The acknowledgements travel as the request's body, which is forwarded while the response streams.
  EXPECT_TRUE(wire.write(ask_for("/events", "Transfer-Encoding: chunked\r\n", "POST")));
  EXPECT_THAT(wire.read_until("data: a\n\n"), HasSubstr("text/event-stream"));
  EXPECT_TRUE(wire.write("3\r\nack\r\n"));
  EXPECT_THAT(wire.read_until("data: b\n\n"), EndsWith("data: b\n\n"));
  EXPECT_TRUE(wire.write("3\r\nack\r\n0\r\n\r\n"));
  EXPECT_THAT(wire.read_until("0\r\n\r\n"), EndsWith("0\r\n\r\n"));
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::RecordingComplete) == 1; }));
}

TEST(Streaming, ARouteWithAPaceReplaysTheSameBytes) {
  RigOptions options;
  config::Route route;
  route.streaming = config::Streaming{"recorded"};
  options.config.routes.push_back(route);
  Taped taped(kTagged, {ask_for("/a")}, std::move(options));
  EXPECT_EQ(taped.rig.ask(ask_for("/a")), kTagged + "<EOF>");
}

RigOptions with_max_body(config::BodyOversize policy) {
  RigOptions options;
  options.config.limits.max_body = 8;
  options.config.limits.body_oversize = policy;
  return options;
}
const std::string kChunked =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n";
const std::string kPost = "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 9\r\n\r\n123456789";

TEST(Oversize, ErrorRefusesALongRequestBeforeTheOriginHearsOfIt) {
  WorkerRig rig(with_max_body(config::BodyOversize::Error));
  ScriptedOrigin origin(http_origin([](const std::string&) { return kTagged; }));
  rig.go_to(origin.endpoint());
  const std::string answer = rig.ask(kPost);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(answer, HasSubstr("body_too_large"));
  EXPECT_EQ(origin.connections(), 0U);
  EXPECT_THAT(rig.ask(ask_for("/a")), StartsWith("HTTP/1.1 502")) << "ten bytes of the origin's";
  EXPECT_EQ(rig.count(Counter::LimitMaxBody), 2U);
}

TEST(Oversize, ErrorBreaksOffAResponseThatGrowsTooLong) {
  WorkerRig rig(with_max_body(config::BodyOversize::Error));
  ScriptedOrigin origin(http_origin([](const std::string&) { return kChunked; }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(ask_for("/a")), EndsWith("<RST>"));
}

TEST(Oversize, OurOwnAnswersAreNotMeasured) {
  for (const auto policy : {config::BodyOversize::Error, config::BodyOversize::Bypass}) {
    WorkerRig rig(with_max_body(policy));
    ScriptedOrigin gone(http_origin([](const std::string&) { return kTagged; }));
    rig.go_to(gone.endpoint());
    gone.stop();
    const std::string answer = rig.ask(ask_for("/a"));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 502"));
    EXPECT_THAT(answer, HasSubstr("\"upstream_connect\""));
    EXPECT_THAT(answer, EndsWith("}\n<EOF>"));
    EXPECT_TRUE(eventually([&] { return rig.count(Counter::RecordingFailed) == 1; }));
    EXPECT_EQ(rig.count(Counter::LimitMaxBody) + rig.count(Counter::IncompleteLimit), 0U);
    rig.set_mode(Mode::Replay);
    EXPECT_EQ(rig.ask(ask_for("/a")), answer);
  }
}

// Known too late to refuse it unheard; its answer is longer than the limit as well.
TEST(Oversize, ErrorAnswersARequestThatGrowsTooLong) {
  WorkerRig rig(with_max_body(config::BodyOversize::Error));
  ScriptedOrigin origin(http_origin([](const std::string&) { return kTagged; }));
  rig.go_to(origin.endpoint());
  const std::string answer = rig.ask(
      "POST /a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
      "9\r\n123456789\r\n0\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(answer, HasSubstr("body_too_large"));
}

TEST(Oversize, BypassPassesLongBodiesAndStoresNothingOfThem) {
  for (const std::string& response : {kTagged, kChunked}) {
    WorkerRig rig(with_max_body(config::BodyOversize::Bypass));
    ScriptedOrigin origin(http_origin([&](const std::string&) { return response; }));
    rig.go_to(origin.endpoint());
    EXPECT_EQ(rig.ask(ask_for("/a")), response + "<EOF>");
    EXPECT_TRUE(eventually([&] { return rig.count(Counter::IncompleteLimit) == 1; }));
    EXPECT_EQ(rig.store->stored_recordings(), 0U);
    origin.stop();
    rig.set_mode(Mode::Replay);
    EXPECT_THAT(rig.ask(ask_for("/a")), HasSubstr("not_recorded"));
  }
}

TEST(Oversize, StreamIsTheDefaultAndRecordsThem) {
  Taped taped(kTagged, {ask_for("/a")}, with_max_body(config::BodyOversize::Stream));
  EXPECT_EQ(taped.rig.ask(ask_for("/a")), kTagged + "<EOF>");
}

}  // namespace
}  // namespace tapdeck::server
