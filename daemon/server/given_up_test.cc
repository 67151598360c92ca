// Requests over HTTP/2 that end before any answer: gRPC calls that their origin resets, calls at their deadline, and
// requests that their client gives up; live and in replay.
#include <gmock/gmock.h>

#include <atomic>
#include <map>
#include <string>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;

RigOptions to_h2_origin(Mode mode = Mode::Record) {
  RigOptions options;
  options.mode = mode;
  config::Route route;
  route.upstream_http = config::UpstreamHttp::V2;
  options.config.routes.push_back(std::move(route));
  return options;
}

// Resets each stream with the code that its path ends in.
ScriptedOrigin::End reset_by_path(Wire& raw) {
  H2Wire wire(raw, http::Role::Server);
  while (true) {
    const std::string what = wire.next();
    if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
    if (!what.starts_with("END")) continue;
    const std::string path = wire.request().target;
    const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(4)));
    wire.codec().reset(stream, http::ResetCode{static_cast<uint32_t>(std::stoul(path.substr(path.rfind('/') + 1)))});
    wire.flush();
  }
}

http::Headers call_fields(const std::string& timeout = {}) {
  http::Headers fields;
  fields.add("content-type", "application/grpc");
  if (!timeout.empty()) fields.add("grpc-timeout", timeout);
  return fields;
}

const std::string kMessage = "\0\0\0\0\1a"s;

// What the client of a request with these fields hears, up to the end of its stream.
std::string seen_by(WorkerRig& rig, const std::string& path, const http::Headers& fields,
                    const std::string& method = "POST", const std::string& body = kMessage) {
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request(method, path, body, fields);
  std::string all;
  do {
    const std::string what = client.next();
    all += (all.empty() ? "" : ", ") + what;
    if (what.starts_with("E") || what.starts_with("RESET")) break;
  } while (true);
  raw.close();
  return all;
}

store::Recording only_recording(WorkerRig& rig) {
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  auto page = tls::testing::must(rig.store->list_recordings({}));
  return page.items.empty() ? store::Recording{} : page.items.front();
}

TEST(ResetCall, TheCodeReachesTheClientLiveAndInReplay) {
  for (const std::string timeout : {"", "1H"}) {
    for (const uint32_t code : {0U, 1U, 2U, 8U, 11U, 12U}) {
      WorkerRig rig(to_h2_origin());
      ScriptedOrigin origin(reset_by_path);
      rig.go_to(origin.endpoint());
      const std::string path = "/t.S/" + std::to_string(code);
      const std::string expected = "RESET 1 " + std::to_string(code);
      EXPECT_EQ(seen_by(rig, path, call_fields(timeout)), expected);
      const store::Recording kept = only_recording(rig);
      EXPECT_EQ(kept.outcome, (store::Outcome{store::Outcome::Kind::Reset, 0, "upstream_reset", code}));
      origin.stop();
      rig.set_mode(Mode::Replay);
      EXPECT_EQ(seen_by(rig, path, call_fields(timeout)), expected);
      EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 1; }));
    }
  }
}

TEST(ResetCall, InHybridModeItMissesAndAnswersNobody) {
  WorkerRig rig(to_h2_origin(Mode::Hybrid));
  ScriptedOrigin origin(reset_by_path);
  rig.go_to(origin.endpoint());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(seen_by(rig, "/t.S/2", call_fields()), "RESET 1 2");
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::MissOrigin) == 2; }));
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
}

TEST(ResetCall, WhatIsNoCallIsAnsweredAsEver) {
  WorkerRig rig(to_h2_origin());
  ScriptedOrigin origin(reset_by_path);
  rig.go_to(origin.endpoint());
  EXPECT_THAT(seen_by(rig, "/t.S/2", {}), HasSubstr("HEAD 1 502, BODY 1 {\"error\":\"upstream_reset\""));
  EXPECT_EQ(only_recording(rig).outcome.kind, store::Outcome::Kind::Failed);
}

TEST(ResetCall, AtItsDeadlineItIsOneThatItsClientLeft) {
  WorkerRig rig(to_h2_origin());
  ScriptedOrigin origin(reset_by_path);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(seen_by(rig, "/t.S/8", call_fields("1n")), "RESET 1 8");  // has passed when the origin hears of it
  const store::Recording kept = only_recording(rig);
  EXPECT_EQ(kept.outcome.kind, store::Outcome::Kind::Incomplete);
  EXPECT_EQ(kept.outcome.reason, "client_gone");
  EXPECT_EQ(rig.count(Counter::UpstreamReset), 0U) << "nobody's failure";
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(seen_by(rig, "/t.S/8", call_fields("1n")), HasSubstr("HEAD 1 200"));  // and grpc-status 4, as ever
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 1; }));
}

TEST(ResetCall, OneThatWasResetBeforeItsMessageIsSoWhateverThatSays) {
  WorkerRig rig(to_h2_origin());
  ScriptedOrigin origin([](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    wire.until("HEAD 1");
    wire.codec().reset(1, http::ResetCode::InternalError);
    wire.flush();
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.open_post("/t.S/M", call_fields());
  EXPECT_EQ(client.until("RESET"), "RESET 1 2");
  raw.close();
  EXPECT_EQ(only_recording(rig).outcome.kind, store::Outcome::Kind::Reset);
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(seen_by(rig, "/t.S/M", call_fields()), "RESET 1 2");
}

// Answers "/told" only, and counts what it is asked.
ScriptedOrigin::Script mute_origin(std::atomic<int>& asked) {
  return [&asked](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (!what.starts_with("END")) continue;
      ++asked;
      const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(4)));
      if (wire.request().target == "/told") wire.respond(stream, 200, "told");
    }
  };
}

// Asks for "/mute", gives that up when `is_time`, and asks for "/told", which is answered.
void give_up(WorkerRig& rig, const std::function<bool()>& is_time) {
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  const auto stream = client.request("GET", "/mute");
  client.request("GET", "/told");
  EXPECT_THAT(client.until("END 3"), HasSubstr("HEAD 3 200"));
  EXPECT_TRUE(eventually(is_time));
  client.codec().reset(stream, http::ResetCode::Cancel);
  client.flush();
  client.request("GET", "/told");
  EXPECT_EQ(client.until("END 5"), "HEAD 5 200, BODY 5 told, END 5") << "of /mute nothing came";
  raw.close();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
}

TEST(GivenUp, IsRecordedAndGivenUpAgainInReplay) {
  WorkerRig rig(to_h2_origin());
  std::atomic<int> asked{0};
  ScriptedOrigin origin(mute_origin(asked));
  rig.go_to(origin.endpoint());
  give_up(rig, [&] { return asked == 2; });
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 3; }));
  EXPECT_EQ(rig.count(Counter::RecordingIncomplete), 1U);
  origin.stop();
  rig.set_mode(Mode::Replay);
  give_up(rig, [] { return true; });
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 3; }));
  EXPECT_EQ(rig.outcomes(Mode::Replay, Outcome::Missed), 0U);
  EXPECT_THAT(seen_by(rig, "/mute", {}, "HEAD", ""), HasSubstr("HEAD 1 502")) << "from which there is nothing to tell";
}

TEST(GivenUp, InHybridModeTheOriginIsAskedAgain) {
  WorkerRig rig(to_h2_origin(Mode::Hybrid));
  std::atomic<int> asked{0};
  ScriptedOrigin origin(mute_origin(asked));
  rig.go_to(origin.endpoint());
  give_up(rig, [&] { return asked == 2; });
  give_up(rig, [&] { return asked == 3; });  // "/told" is on tape
}

TEST(GivenUp, AClientThatStaysIsResetAfterTheIdleTimeout) {
  RigOptions options = to_h2_origin();
  options.config.limits.idle_timeout = std::chrono::milliseconds(400);
  WorkerRig rig(std::move(options));
  std::atomic<int> asked{0};
  ScriptedOrigin origin(mute_origin(asked));
  rig.go_to(origin.endpoint());
  give_up(rig, [&] { return asked == 2; });
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 3; }));
  rig.set_mode(Mode::Replay);
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/mute");
  EXPECT_EQ(client.until("RESET"), "RESET 1 8");
  raw.close();
}

TEST(GivenUp, InsideItsRequestItLeavesNothing) {
  WorkerRig rig(to_h2_origin());
  std::atomic<int> asked{0};
  ScriptedOrigin origin(mute_origin(asked));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  const auto stream = client.open_post("/part");
  EXPECT_TRUE(client.codec().send_body(stream, "part", std::nullopt));
  client.request("GET", "/told");
  EXPECT_THAT(client.until("END 3"), HasSubstr("HEAD 3 200"));
  client.codec().reset(stream, http::ResetCode::Cancel);
  client.flush();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
  EXPECT_EQ(rig.count(Counter::RecordingIncomplete), 0U);
  raw.close();
}

// Beside complete answers that were recorded under other keys.
class GivenUpBeside : public testing::Test {
 protected:
  // What the origin answers a request of this method with, the how-manieth it is; 0: nothing; below: REFUSED_STREAM.
  using Status = std::function<int(const std::string& method, int number)>;

  void begin(Status status, config::Repeat repeat = config::Repeat::InOrder,
             std::chrono::milliseconds idle_timeout = std::chrono::milliseconds(400)) {
    RigOptions options = to_h2_origin();
    options.config.routes[0].repeat = repeat;
    options.config.limits.idle_timeout = idle_timeout;
    rig.emplace(std::move(options));
    origin.emplace([this, status = std::move(status)](Wire& raw) {
      H2Wire wire(raw, http::Role::Server);
      std::map<http::StreamId, int> numbers;
      while (true) {
        const std::string what = wire.next();
        if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
        if (what.starts_with("END")) whole = numbers[static_cast<http::StreamId>(std::stoul(what.substr(4)))];
        if (!what.starts_with("HEAD")) continue;
        const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(5)));
        const int number = numbers[stream] = asked + 1;
        asked = number;
        const int code = status(wire.request().method, number);
        if (code > 0) wire.respond(stream, code, code == 200 ? "told" : "");
        if (code < 0) wire.codec().reset(stream, http::ResetCode::RefusedStream);
      }
    });
    rig->go_to(origin->endpoint());
  }
  void leave(const std::string& method, const http::Headers& fields, const std::string& body = {}) {
    const int before = asked;
    Wire raw = rig->connect();
    H2Wire client(raw, http::Role::Client);
    const auto stream = client.request(method, "/", body, fields);
    EXPECT_TRUE(eventually([&] { return whole == before + 1; }));
    client.codec().reset(stream, http::ResetCode::Cancel);
    client.flush();
    raw.close();
    expect_recorded();
  }
  std::string ask(const std::string& method, const http::Headers& fields, const std::string& body = {}) {
    return seen_by(*rig, "/", fields, method, body);
  }
  void expect_recorded() {
    ++recorded;
    EXPECT_TRUE(eventually([&] { return rig->store->stored_recordings() == recorded; }));
  }
  void replay() {
    EXPECT_EQ(rig->count(Counter::RecordingIncomplete), 1U);
    origin->stop();
    rig->set_mode(Mode::Replay);
  }
  static http::Headers field(std::string_view name, std::string_view value) {
    http::Headers fields;
    fields.add(name, value);
    return fields;
  }

  const http::Headers condition = field("if-none-match", "\"a\"");
  std::atomic<int> asked{0};  // heads that came to the origin
  std::atomic<int> whole{0};  // the number of the last request that came to its end
  uint64_t recorded = 0;
  std::optional<WorkerRig> rig;
  std::optional<ScriptedOrigin> origin;
};

TEST_F(GivenUpBeside, APollIsAnsweredAsBefore) {
  begin([](const std::string&, int number) { return number == 1 ? 304 : 0; });
  EXPECT_THAT(ask("GET", condition), HasSubstr("HEAD 1 304"));
  expect_recorded();
  leave("GET", condition);
  replay();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask("GET", condition), "HEAD 1 304, END 1");
}

TEST_F(GivenUpBeside, APollThatWasGivenUpFirstIsAnsweredAndThenWaits) {
  begin([](const std::string&, int number) { return number == 2 ? 304 : 0; }, config::Repeat::Once);
  leave("GET", condition);
  EXPECT_THAT(ask("GET", condition), HasSubstr("HEAD 1 304"));
  expect_recorded();
  replay();
  EXPECT_EQ(ask("GET", condition), "HEAD 1 304, END 1");
  EXPECT_EQ(ask("GET", condition), "RESET 1 8") << "nothing else is left";
  EXPECT_THAT(ask("GET", condition), HasSubstr("HEAD 1 502"));
}

TEST_F(GivenUpBeside, AClientThatStaysGetsWhatCameNext) {
  begin([](const std::string&, int number) { return number == 1 ? 0 : 200; });
  leave("GET", {});
  EXPECT_THAT(ask("GET", {}), HasSubstr("HEAD 1 200"));
  expect_recorded();
  replay();
  EXPECT_EQ(ask("GET", {}), "HEAD 1 200, BODY 1 told, END 1");
}

TEST_F(GivenUpBeside, SoDoesACallThatStays) {
  begin([](const std::string&, int number) { return number == 1 ? 0 : 200; });
  leave("POST", call_fields(), kMessage);
  EXPECT_THAT(ask("POST", call_fields(), kMessage), HasSubstr("HEAD 1 200"));
  expect_recorded();
  replay();
  EXPECT_THAT(ask("POST", call_fields(), kMessage), HasSubstr("HEAD 1 200, BODY 1 told"));
}

TEST_F(GivenUpBeside, WhatWasTurnedAwayEarlyKeepsItsTurn) {
  begin([](const std::string&, int number) { return number == 1 ? 0 : -1; }, config::Repeat::Once);
  const http::Headers length = field("content-length", "10");
  leave("POST", length, "ten bytes.");
  {
    Wire raw = rig->connect();
    H2Wire client(raw, http::Role::Client);
    const auto stream = client.open_post("/", length);
    EXPECT_TRUE(client.codec().send_body(stream, "ten ", std::nullopt));
    client.flush();
    EXPECT_EQ(client.until("RESET"), "RESET 1 7");
    raw.close();
  }
  expect_recorded();
  origin->stop();
  rig->set_mode(Mode::Replay);
  EXPECT_EQ(ask("POST", length, "ten bytes."), "RESET 1 8") << "given up";
  EXPECT_EQ(ask("POST", length, "ten bytes."), "RESET 1 7") << "turned away";
}

TEST_F(GivenUpBeside, AHeadIsAnsweredByItsGet) {
  begin([](const std::string& method, int) { return method == "GET" ? 200 : 0; });
  EXPECT_THAT(ask("GET", {}), HasSubstr("HEAD 1 200"));
  expect_recorded();
  leave("HEAD", {});
  replay();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(ask("HEAD", {}), "HEAD 1 200, END 1");
}

TEST_F(GivenUpBeside, AnAnswerThatCameEarlyIsGivenAgain) {
  begin([](const std::string&, int number) { return number == 1 ? 200 : 0; }, config::Repeat::InOrder,
        std::chrono::seconds(60));
  const http::Headers length = field("content-length", "10");
  {
    Wire raw = rig->connect();
    H2Wire client(raw, http::Role::Client);
    const auto stream = client.open_post("/", length);
    EXPECT_TRUE(client.codec().send_body(stream, "ten ", std::nullopt));
    client.flush();
    EXPECT_THAT(client.until("HEAD"), HasSubstr("HEAD 1 200"));
    EXPECT_TRUE(raw.write("\0\0\0\0\1\0\0\0\1"s)) << "DATA, empty, END_STREAM: short of its Content-Length";
    client.until("END");
    raw.close();
  }
  expect_recorded();
  EXPECT_EQ(only_recording(*rig).dimensions.size(), 1U) << "early";
  leave("POST", length, "ten bytes.");
  replay();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(ask("POST", length, "ten bytes."), "HEAD 1 200, BODY 1 told, END 1");
}

}  // namespace
}  // namespace tapdeck::server
