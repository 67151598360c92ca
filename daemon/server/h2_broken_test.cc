// How HTTP/2 clients are told that their origin broke a stream off or refused it, live and in replay.
#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <future>
#include <map>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;

RigOptions to_origin_by(config::UpstreamHttp version) {
  RigOptions options;
  config::Route route;
  route.upstream_http = version;
  options.config.routes.push_back(std::move(route));
  return options;
}

// Calls `on_part` when the body has begun.
std::string seen_by_h2_client(WorkerRig& rig, const std::function<void()>& on_part) {
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/a");
  std::string seen = client.until("BODY 1");
  on_part();
  seen += ", " + client.until("RESET");
  raw.close();
  return seen;
}

// Live and in replay.
void expect_twice(
    WorkerRig& rig, ScriptedOrigin& origin, const std::string& expected, const std::function<void()>& on_part = [] {}) {
  rig.go_to(origin.endpoint());
  EXPECT_EQ(seen_by_h2_client(rig, on_part), expected);
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(seen_by_h2_client(rig, [] {}), expected);
}

// Begins an answer to the first request, without an end.
void begin_answer(H2Wire& wire) {
  wire.until("END 1");
  http::ResponseHead head;
  head.status = 200;
  head.version = http::Version::Http2;
  EXPECT_TRUE(wire.codec().send_response(1, head, http::EndStream::No));
  EXPECT_TRUE(wire.codec().send_body(1, "part", std::nullopt));
  wire.flush();
}

TEST(BrokenH2, AResetOfAnHttp1OriginHasNoCodeOfItsOwn) {
  WorkerRig rig(to_origin_by(config::UpstreamHttp::V1));
  ScriptedOrigin origin(
      http_origin([](const std::string&) { return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart<RST>"; }));
  expect_twice(rig, origin, "HEAD 1 200, BODY 1 part, RESET 1 2");
}

TEST(BrokenH2, NorHasALostConnectionOfAnHttp2Origin) {
  WorkerRig rig(to_origin_by(config::UpstreamHttp::V2));
  std::promise<void> seen;  // a reset overtakes what was sent before it
  ScriptedOrigin origin([&seen](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    begin_answer(wire);
    seen.get_future().wait();
    return ScriptedOrigin::End::Reset;
  });
  expect_twice(rig, origin, "HEAD 1 200, BODY 1 part, RESET 1 2", [&seen] { seen.set_value(); });
}

TEST(BrokenH2, NorHasAnOriginThatFallsSilent) {
  RigOptions options = to_origin_by(config::UpstreamHttp::V2);
  options.config.limits.idle_timeout = std::chrono::milliseconds(400);
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin([](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    begin_answer(wire);
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  });
  expect_twice(rig, origin, "HEAD 1 200, BODY 1 part, RESET 1 2");
}

TEST(BrokenH2, AStreamEndedWithNoErrorInTheMiddleStaysThat) {
  WorkerRig rig(to_origin_by(config::UpstreamHttp::V2));
  ScriptedOrigin origin([](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    begin_answer(wire);
    wire.codec().reset(1, http::ResetCode::NoError);
    wire.flush();
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  });
  expect_twice(rig, origin, "HEAD 1 200, BODY 1 part, RESET 1 0");
}

// Refuses every stream once more came than the proxy keeps for a second try (to "/longer": than it keeps of a begun
// recording), and "/short" at once.
ScriptedOrigin::End refuse(Wire& raw) {
  H2Wire wire(raw, http::Role::Server);
  std::map<http::StreamId, size_t> sizes;
  while (true) {
    const std::string what = wire.next();
    if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
    const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(what.find(' ') + 1)));
    const bool is_short = wire.request().target == "/short";
    if (what.starts_with("BODY")) sizes[stream] += what.size();
    if (what.starts_with("END") && !is_short) wire.respond(stream, 200, "taken");
    if (is_short ? what.starts_with("END") : sizes[stream] > (wire.request().target == "/longer" ? 270'000 : 70'000)) {
      sizes.erase(stream);
      wire.codec().reset(stream, http::ResetCode::RefusedStream);
      wire.flush();
    }
  }
}

// "RESET ..." or "END ...", or the end of the connection.
bool is_end(const std::string& heard) {
  return heard.starts_with("RESET") || heard.starts_with("E");
}

std::string end_of_stream(H2Wire& client) {
  std::string heard;
  while (!is_end(heard)) heard = client.next();
  return heard;
}

enum class Ends { No, Yes };

// Sends a body until its stream is reset, which is what comes back.
std::string heard_by_long_post(H2Wire& client, const std::string& path, size_t size, Ends ends = Ends::Yes) {
  const http::StreamId stream = client.open_post(path);
  const std::string body(size, 'x');
  std::string heard;
  for (size_t sent = 0; sent < body.size() && !is_end(heard);) {
    const auto accepted = client.codec().send_body(stream, std::string_view(body).substr(sent), std::nullopt);
    if (!accepted) break;
    sent += *accepted;
    client.flush();
    if (*accepted == 0) heard = client.next();
  }
  if (is_end(heard)) return heard;
  if (ends == Ends::Yes && client.codec().send_end(stream, {})) client.flush();
  return end_of_stream(client);
}

TEST(BrokenH2, ARefusedStreamThatCannotGoOutAgainIsRefusedToItsClient) {
  WorkerRig rig(to_origin_by(config::UpstreamHttp::V2));
  ScriptedOrigin origin(refuse);
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  EXPECT_THAT(heard_by_long_post(client, "/long", 80'000), HasSubstr("RESET 1 7"));
  client.request("POST", "/short", "x");
  EXPECT_THAT(client.until("RESET"), HasSubstr("RESET 3 7")) << "as often as it was tried";
  client.request("POST", "/taken", "x");
  EXPECT_THAT(client.until("END 5"), HasSubstr("HEAD 5 200"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 3; }));
  EXPECT_EQ(rig.count(Counter::RecordingFailed), 0U) << "what may be sent again was not answered";
  EXPECT_THAT(rig.ask("POST /short HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1\r\n\r\nx"), HasSubstr(" 502 "))
      << "an HTTP/1 client knows no such signal";
  raw.close();
}

TEST(BrokenH2, AnUploadThatIsTurnedAwayInTheMiddleIsFoundWithoutTheRest) {
  constexpr size_t kUpload = 8'000'000;
  WorkerRig rig(to_origin_by(config::UpstreamHttp::V2));
  ScriptedOrigin origin(refuse);
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  EXPECT_THAT(heard_by_long_post(client, "/long", kUpload, Ends::No), HasSubstr("RESET 1 7"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  raw.close();
  origin.stop();
  rig.set_mode(Mode::Replay);
  Wire again = rig.connect();
  H2Wire replayed(again, http::Role::Client);
  EXPECT_THAT(heard_by_long_post(replayed, "/long", kUpload), HasSubstr("RESET 1 7"));
  again.close();
}

TEST(BrokenH2, OfARefusedStreamHybridLeavesNothingInTheStore) {
  for (const Mode mode : {Mode::Record, Mode::Hybrid}) {
    RigOptions options = to_origin_by(config::UpstreamHttp::V2);
    options.mode = mode;
    WorkerRig rig(std::move(options));
    ScriptedOrigin origin(refuse);
    rig.go_to(origin.endpoint());
    Wire raw = rig.connect();
    H2Wire client(raw, http::Role::Client);
    client.request("POST", "/taken", "x");  // from here on the proxy's windows are known
    EXPECT_THAT(client.until("END 1"), HasSubstr("HEAD 1 200"));
    EXPECT_THAT(heard_by_long_post(client, "/longer", 300'000), HasSubstr("RESET 3 7"));
    client.request("POST", "/too", "x");
    EXPECT_THAT(client.until("END 5"), HasSubstr("HEAD 5 200"));
    const size_t kept = mode == Mode::Record ? 3 : 2;
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == kept; }));
    EXPECT_EQ(rig.recordings_after_crash(), kept) << to_string(mode);
    EXPECT_EQ(rig.count(Counter::MissOrigin), 0U) << "only passed on";
    raw.close();
  }
}

// Resets every request with `code` while that is none of NO_ERROR, and answers it then.
ScriptedOrigin::Script turning_away(std::atomic<http::ResetCode>& code) {
  return [&code](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (!what.starts_with("END")) continue;
      const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(4)));
      const http::ResetCode now = code;
      if (now == http::ResetCode::NoError) {
        wire.respond(stream, 200, "taken");
      } else {
        wire.codec().reset(stream, now);
        wire.flush();
      }
    }
  };
}

std::string heard_by_post(WorkerRig& rig) {
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("POST", "/a", "x");
  std::string heard = end_of_stream(client);
  raw.close();
  return heard;
}

TEST(BrokenH2, ARequestThatIsTurnedAwayIsTurnedAwayInReplay) {
  for (const auto code : {http::ResetCode::RefusedStream, http::ResetCode::Http11Required}) {
    const std::string expected = "RESET 1 " + std::to_string(static_cast<uint32_t>(code));
    WorkerRig rig(to_origin_by(config::UpstreamHttp::V2));
    std::atomic<http::ResetCode> now = code;
    ScriptedOrigin origin(turning_away(now));
    rig.go_to(origin.endpoint());
    EXPECT_EQ(heard_by_post(rig), expected);
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
    const auto page = tls::testing::must(rig.store->list_recordings({}));
    EXPECT_EQ(page.items[0].outcome.kind, store::Outcome::Kind::Reset);
    EXPECT_EQ(page.items[0].outcome.code, static_cast<uint32_t>(code));
    origin.stop();
    rig.set_mode(Mode::Replay);
    for (int turn = 0; turn < 2; ++turn) EXPECT_EQ(heard_by_post(rig), expected);
    EXPECT_THAT(rig.ask("POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1\r\n\r\nx"), HasSubstr("not_recorded"))
        << "an HTTP/1 client knows no such signal";
  }
}

TEST(BrokenH2, OneThatWasAnsweredLaterIsAnsweredInReplay) {
  WorkerRig rig(to_origin_by(config::UpstreamHttp::V2));
  std::atomic<http::ResetCode> now = http::ResetCode::RefusedStream;
  ScriptedOrigin origin(turning_away(now));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(heard_by_post(rig), "RESET 1 7");
  now = http::ResetCode::NoError;
  EXPECT_EQ(heard_by_post(rig), "END 1");
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (int turn = 0; turn < 2; ++turn) EXPECT_EQ(heard_by_post(rig), "END 1");
}

// Resets its connection under a "/lost" on the first `losing` of its connections.
ScriptedOrigin::Script losing_origin(std::atomic<int>& asked, size_t losing) {
  return [&asked, losing, begun = std::make_shared<std::atomic<size_t>>(0)](Wire& raw) {
    const bool loses = ++*begun <= losing;
    H2Wire wire(raw, http::Role::Server);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (!what.starts_with("END")) continue;
      const bool is_lost = wire.request().target == "/lost";
      if (is_lost) ++asked;
      if (is_lost && loses) return ScriptedOrigin::End::Reset;
      wire.respond(static_cast<http::StreamId>(std::stoul(what.substr(4))), 200, "got");
    }
  };
}

TEST(BrokenH2, AGetWhoseConnectionIsLostIsAskedOnceMore) {
  for (const size_t losing : {1U, 2U}) {
    RigOptions options = to_origin_by(config::UpstreamHttp::V2);
    options.mode = Mode::Passthrough;
    WorkerRig rig(std::move(options));
    std::atomic<int> asked{0};
    ScriptedOrigin origin(losing_origin(asked, losing));
    rig.go_to(origin.endpoint());
    Wire raw = rig.connect();
    H2Wire client(raw, http::Role::Client);
    client.request("GET", "/");
    EXPECT_THAT(client.until("END 1"), HasSubstr("got"));
    client.request("GET", "/lost");
    EXPECT_THAT(client.until("END 3"), HasSubstr(losing == 1 ? "HEAD 3 200" : "HEAD 3 502"));
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(origin.connections(), 2U);
    raw.close();
  }
}

}  // namespace
}  // namespace tapdeck::server
