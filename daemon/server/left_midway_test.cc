// Responses that their client left in the middle (server-sent events, watches): replay waits for it to leave again.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

const std::string kAskEvents = "GET /events HTTP/1.1\r\nHost: api.test\r\n\r\n";
const std::string kEvent = "9\r\ndata: 1\n\n\r\n";

// One event, and others of which nobody is told, until the other side is gone.
ScriptedOrigin::End events(Wire& wire) {
  wire.read_until("\r\n\r\n");
  wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + kEvent);
  wire.read_until("\r\n\r\n");
  return ScriptedOrigin::End::Close;
}

class LeftMidway : public testing::Test {
 protected:
  // Records a client that has read the event and leaves; the rig is in replay afterwards.
  void begin(std::chrono::milliseconds idle_timeout = 300s) {
    RigOptions options;
    options.config.limits.idle_timeout = idle_timeout;
    options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V1;
    rig.emplace(std::move(options));
    origin.emplace(events);
    rig->go_to(origin->endpoint());
    Wire wire = ask();
    wire.reset();
    EXPECT_TRUE(eventually([&] { return rig->count(Counter::RecordingIncomplete) == 1; }));
    EXPECT_TRUE(eventually([&] { return rig->store->stored_recordings() == 1; }));
    const auto page = tls::testing::must(rig->store->list_recordings({}));
    EXPECT_EQ(page.items.front().outcome.reason, "client_gone");
    origin->stop();
    rig->set_mode(Mode::Replay);
  }
  // The event has come.
  Wire ask() {
    Wire wire = rig->connect();
    EXPECT_TRUE(wire.write(kAskEvents));
    EXPECT_THAT(wire.read_until("data: 1\n\n\r\n"), EndsWith("\r\n\r\n" + kEvent));
    return wire;
  }
  void expect_replayed(uint64_t times) {
    EXPECT_TRUE(eventually([&] { return rig->outcomes(Mode::Replay, Outcome::Replayed) == times; }));
    EXPECT_TRUE(eventually([&] { return rig->active() == 0; }));
  }
  std::optional<WorkerRig> rig;
  std::optional<ScriptedOrigin> origin;
};

TEST_F(LeftMidway, AClientThatStaysIsResetAfterTheIdleTimeout) {
  begin(400ms);
  const auto began = steady_clock::now();
  Wire wire = ask();
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_GE(steady_clock::now() - began, 400ms);
  expect_replayed(1);
}

// Nobody knows of one that has closed whether it reads on, until the recorder ends.
TEST(LeftByAClose, IsRecordedSoWhenTheRecorderStops) {
  WorkerRig rig;
  ScriptedOrigin origin(events);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kAskEvents));
  EXPECT_THAT(wire.read_until("data: 1\n\n\r\n"), EndsWith(kEvent));
  wire.close();
  // A FIN has no answer to wait for: what comes behind it has.
  EXPECT_THAT(rig.ask("GET / HTTP/1.1\r\n\r\n"), HasSubstr(" 400 "));
  rig.worker->stop();
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  const auto page = tls::testing::must(rig.store->list_recordings({}));
  EXPECT_EQ(page.items.front().outcome.reason, "client_gone");
}

TEST_F(LeftMidway, NobodyIsWaitedForWhenItDrains) {
  begin();
  Wire over_http1 = ask();
  rig->worker->drain();
  EXPECT_EQ(over_http1.rest(), "<RST>");
  expect_replayed(1);
}

TEST_F(LeftMidway, AClientThatLeavesAgainIsGone) {
  begin();
  Wire by_reset = ask();
  by_reset.reset();
  expect_replayed(1);
  Wire by_close = ask();
  by_close.close();
  expect_replayed(2);
  Wire by_half_close = ask();
  by_half_close.half_close();
  EXPECT_EQ(by_half_close.rest(), "<RST>");
  expect_replayed(3);
}

TEST_F(LeftMidway, AnHttp2ClientMayKeepItsOtherStreams) {
  begin();
  Wire raw = rig->connect();
  H2Wire client(raw, http::Role::Client);
  const auto stream = client.request("GET", "/events");
  EXPECT_EQ(client.until("BODY"), "HEAD 1 200, BODY 1 data: 1\n\n");
  client.request("GET", "/missing");
  EXPECT_THAT(client.until("END"), AllOf(HasSubstr("HEAD 3 502"), Not(HasSubstr("RESET"))));
  client.codec().reset(stream, http::ResetCode::Cancel);
  client.flush();
  EXPECT_TRUE(eventually([&] { return rig->outcomes(Mode::Replay, Outcome::Replayed) == 1; }));
  client.request("GET", "/missing");
  EXPECT_THAT(client.until("END"), HasSubstr("HEAD 5 502"));
  raw.close();
}

TEST_F(LeftMidway, AnHttp2ClientThatStaysIsResetAfterTheIdleTimeout) {
  begin(400ms);
  const auto began = steady_clock::now();
  Wire raw = rig->connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/events");
  EXPECT_THAT(client.until("RESET"), HasSubstr("RESET 1 8"));
  EXPECT_GE(steady_clock::now() - began, 400ms);
  raw.close();
}

TEST_F(LeftMidway, AHeadOfItIsWhole) {
  begin();
  Wire wire = rig->connect();
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(wire.write("HEAD /events HTTP/1.1\r\nHost: api.test\r\n\r\n"));
    EXPECT_THAT(wire.read_until("\r\n\r\n"), HasSubstr("200 OK"));
  }
  wire.close();
}

// A download of ten bytes that its client left after five, beside complete answers to the same URL.
class LeftBeside : public testing::TestWithParam<config::Repeat> {
 protected:
  LeftBeside() {
    RigOptions options;
    config::Route& route = options.config.routes.emplace_back();
    route.upstream_http = config::UpstreamHttp::V1;
    route.repeat = GetParam();
    rig.emplace(std::move(options));
    origin.emplace(http_origin([](const std::string& request) -> std::string {
      if (request.contains("If-None-Match")) return "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n";
      if (request.contains("Range: bytes=0-2")) return part("0-2", "012");
      if (request.contains("Range: bytes=7-9")) return part("7-9", "789");
      return kBegin;
    }));
    rig->go_to(origin->endpoint());
    Wire wire = rig->connect();
    EXPECT_TRUE(wire.write(get("")));
    EXPECT_EQ(wire.read_until("01234"), kBegin);
    wire.reset();
    EXPECT_TRUE(eventually([&] { return rig->count(Counter::RecordingIncomplete) == 1; }));
    EXPECT_EQ(rig->ask(get(kRange)), part("0-2", "012") + "<EOF>");
    EXPECT_THAT(rig->ask(get(kCondition)), HasSubstr(" 304 "));
    EXPECT_TRUE(eventually([&] { return rig->store->stored_recordings() == 3; }));
  }
  static std::string get(const std::string& fields) {
    return "GET /file HTTP/1.1\r\nHost: api.test\r\n" + fields + "\r\n";
  }
  static std::string part(const std::string& range, const std::string& bytes) {
    return "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " + range + "/10\r\nContent-Length: 3\r\n\r\n" + bytes;
  }
  static inline const std::string kBegin = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n01234";
  static inline const std::string kRange = "Range: bytes=0-2\r\n";
  static inline const std::string kCondition = "If-None-Match: \"a\"\r\n";
  std::optional<WorkerRig> rig;
  std::optional<ScriptedOrigin> origin;
};
INSTANTIATE_TEST_SUITE_P(, LeftBeside,
                         testing::Values(config::Repeat::InOrder, config::Repeat::Latest, config::Repeat::Cycle,
                                         config::Repeat::Once));

TEST_P(LeftBeside, WhatIsCompleteAnswers) {
  origin->stop();
  rig->set_mode(Mode::Replay);
  for (int i = 0; i < (GetParam() == config::Repeat::Once ? 1 : 3); ++i) {
    EXPECT_EQ(rig->ask(get(kRange)), part("0-2", "012") + "<EOF>");
    EXPECT_THAT(rig->ask(get(kCondition)), HasSubstr(" 304 "));
    EXPECT_THAT(rig->ask(get("Range: bytes=7-9\r\n")), AllOf(HasSubstr(" 502 "), HasSubstr("\"where\":\"condition\"")));
    EXPECT_EQ(rig->ask(get("")), kBegin + "<RST>") << "its turn was left to it";
  }
  if (GetParam() == config::Repeat::Once) EXPECT_THAT(rig->ask(get(kRange)), HasSubstr(" 502 "));
}

TEST_P(LeftBeside, InHybridModeTheOriginIsAskedForTheRest) {
  rig->set_mode(Mode::Hybrid);
  EXPECT_EQ(rig->ask(get(kRange)), part("0-2", "012") + "<EOF>");
  EXPECT_EQ(rig->outcomes(Mode::Hybrid, Outcome::Replayed), 1U);
  EXPECT_EQ(rig->ask(get("Range: bytes=7-9\r\n")), part("7-9", "789") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig->outcomes(Mode::Hybrid, Outcome::Recorded) == 1; }));
}

}  // namespace
}  // namespace tapdeck::server
