// Client and origin speak in turns over plain HTTP: the client sends a piece of its body, reads a piece of the answer,
// and goes on. What was recorded so is replayed so, and hybrid mode lets it pass.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

const std::vector<std::string> kWords = {"one", "two", "three"};

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c - 'a' + 'A');
  return text;
}
std::string chunk(const std::string& text) {
  return std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

// Answers each chunk by one, as soon as it is there, and the end of the request by the end.
ScriptedOrigin::End echo(Wire& wire) {
  const std::string head = wire.read_until("\r\n\r\n");
  if (!head.ends_with("\r\n\r\n")) return ScriptedOrigin::End::Close;
  if (!wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")) return ScriptedOrigin::End::Close;
  while (true) {
    const std::string size = wire.read_until("\r\n");
    if (!size.ends_with("\r\n")) return ScriptedOrigin::End::Close;
    const size_t length = std::stoul(size);
    const std::string bytes = wire.read_n(length + 2).substr(0, length);
    if (!wire.write(length == 0 ? "0\r\n\r\n" : chunk(upper(bytes)))) return ScriptedOrigin::End::Close;
    if (length == 0) return ScriptedOrigin::End::Close;
  }
}

RigOptions in_mode(Mode mode, std::chrono::milliseconds idle = std::chrono::seconds(8)) {
  RigOptions options;
  options.mode = mode;
  options.config.limits.idle_timeout = idle;
  options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V1;
  return options;
}

const std::string kHead = "POST /talk HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n";

std::string talk_h1(WorkerRig& rig, const std::vector<std::string>& words = kWords) {
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kHead));
  std::string heard;
  for (const std::string& word : words) {
    EXPECT_TRUE(wire.write(chunk(word)));
    heard += wire.read_until(upper(word) + "\r\n") + '|';
    if (!heard.ends_with("\r\n|")) return heard;
  }
  EXPECT_TRUE(wire.write("0\r\n\r\n"));
  return heard + wire.read_until("0\r\n\r\n");
}

std::string talk_h2(WorkerRig& rig, const std::vector<std::string>& words = kWords) {
  Wire raw = rig.connect();
  H2Wire wire(raw, http::Role::Client);
  const http::StreamId stream = wire.open_post("/talk");
  std::string heard;
  for (const std::string& word : words) {
    EXPECT_TRUE(wire.codec().send_body(stream, word, std::nullopt));
    wire.flush();
    heard += wire.until("BODY") + '|';
    if (!heard.ends_with(upper(word) + '|')) return heard;
  }
  EXPECT_TRUE(wire.codec().send_end(stream, {}));
  wire.flush();
  return heard + wire.until("END");
}

std::string whole(const std::vector<std::string>& words) {
  std::string request = kHead;
  for (const std::string& word : words) request += chunk(word);
  return request + "0\r\n\r\n";
}

const std::string kHeardH1 =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n|3\r\nTWO\r\n|5\r\nTHREE\r\n|0\r\n\r\n";
const std::string kHeardH2 = "HEAD 1 200, BODY 1 ONE|BODY 1 TWO|BODY 1 THREE|END 1";

void wait_for(WorkerRig& rig, Mode mode, Outcome outcome, uint64_t count) {
  EXPECT_TRUE(eventually([&] { return rig.outcomes(mode, outcome) == count; })) << rig.outcomes(mode, outcome);
}

TEST(Duplex, IsReplayedInTurnsOverHttp1AndToOneThatSendsAllAtOnce) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(talk_h1(rig), kHeardH1);
  EXPECT_EQ(talk_h1(rig, {"one", "else"}), talk_h1(rig, {"one", "else"}));
  wait_for(rig, Mode::Record, Outcome::Recorded, 3);
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(talk_h1(rig), kHeardH1);
  EXPECT_THAT(talk_h1(rig, {"one", "else"}), HasSubstr("|4\r\nELSE\r\n|0\r\n\r\n"));
  EXPECT_THAT(rig.ask(whole(kWords)), HasSubstr("3\r\nONE\r\n3\r\nTWO\r\n5\r\nTHREE\r\n0\r\n\r\n"));
  EXPECT_THAT(rig.ask(whole({"one", "else"})), HasSubstr("ELSE\r\n0\r\n\r\n"));
  wait_for(rig, Mode::Replay, Outcome::Replayed, 4);
}

TEST(Duplex, IsReplayedInTurnsOverHttp2) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(talk_h2(rig), kHeardH2);
  wait_for(rig, Mode::Record, Outcome::Recorded, 1);
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(talk_h2(rig), kHeardH2);
  EXPECT_EQ(talk_h2(rig), kHeardH2) << "the last one repeats";
  wait_for(rig, Mode::Replay, Outcome::Replayed, 2);
}

// All of the body is there, and only its end waits for the answer.
TEST(Duplex, AClientThatHoldsOnlyItsEndBackIsAnswered) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(talk_h2(rig, {"one"}), "HEAD 1 200, BODY 1 ONE|END 1");
  wait_for(rig, Mode::Record, Outcome::Recorded, 1);
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(talk_h2(rig, {"one"}), "HEAD 1 200, BODY 1 ONE|END 1");
  wait_for(rig, Mode::Replay, Outcome::Replayed, 1);
}

// The request never ends, so its recording is found whatever its body is; in turns as long as that is the same.
TEST(Duplex, AnOriginThatHasTheLastWordIsReplayedInTurnsToo) {
  const auto farewell = [](Wire& wire) {
    wire.read_until("one\r\n");
    wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("ONE"));
    wire.read_until("two\r\n");
    wire.write(chunk("TWO") + "0\r\n\r\n");
    return ScriptedOrigin::End::Close;
  };
  const auto talk = [](WorkerRig& rig, std::string_view second) {
    Wire raw = rig.connect();
    H2Wire wire(raw, http::Role::Client);
    const http::StreamId stream = wire.open_post("/talk");
    EXPECT_TRUE(wire.codec().send_body(stream, "one", std::nullopt));
    wire.flush();
    std::string heard = wire.until("BODY") + '|';
    EXPECT_TRUE(wire.codec().send_body(stream, second, std::nullopt));
    wire.flush();
    return heard + wire.until("END");
  };
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(farewell);
  rig.go_to(origin.endpoint());
  const std::string heard = "HEAD 1 200, BODY 1 ONE|BODY 1 TWO, END 1";
  EXPECT_EQ(talk(rig, "two"), heard);
  wait_for(rig, Mode::Record, Outcome::Recorded, 1);
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(talk(rig, "two"), heard);
  EXPECT_EQ(talk(rig, "six"), heard);
  wait_for(rig, Mode::Replay, Outcome::Replayed, 2);
}

TEST(Duplex, ConversationsThatBeginAlikeAreToldApartAsTheyGoOn) {
  const std::vector<std::string> other = {"one", "two", "six"};
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(talk_h1(rig), kHeardH1);
  talk_h1(rig, other);
  talk_h1(rig, {"one"});
  wait_for(rig, Mode::Record, Outcome::Recorded, 3);
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(talk_h1(rig, {"one"}), EndsWith("\r\n3\r\nONE\r\n|0\r\n\r\n"));
  EXPECT_THAT(talk_h1(rig, other), EndsWith("\r\n3\r\nONE\r\n|3\r\nTWO\r\n|3\r\nSIX\r\n|0\r\n\r\n"));
  EXPECT_EQ(talk_h1(rig), kHeardH1);
  wait_for(rig, Mode::Replay, Outcome::Replayed, 3);
}

TEST(Duplex, AClientThatGoesOnInAnotherWayHasMissed) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(talk_h2(rig), kHeardH2);
  wait_for(rig, Mode::Record, Outcome::Recorded, 1);
  origin.stop();
  rig.set_mode(Mode::Replay);
  Wire raw = rig.connect();
  H2Wire wire(raw, http::Role::Client);
  const http::StreamId stream = wire.open_post("/talk");
  EXPECT_TRUE(wire.codec().send_body(stream, "one", std::nullopt));
  wire.flush();
  EXPECT_EQ(wire.until("BODY"), "HEAD 1 200, BODY 1 ONE");
  EXPECT_TRUE(wire.codec().send_body(stream, "nine", std::nullopt));
  wire.flush();
  EXPECT_EQ(wire.until("RESET"), "RESET 1 2");
  wait_for(rig, Mode::Replay, Outcome::Missed, 1);
}

TEST(Duplex, HybridLetsItPassAndAnswersItFromThenOn) {
  WorkerRig rig(in_mode(Mode::Hybrid));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(talk_h1(rig), kHeardH1);
  wait_for(rig, Mode::Hybrid, Outcome::Recorded, 1);
  EXPECT_EQ(talk_h2(rig, {"two", "one"}), "HEAD 1 200, BODY 1 TWO|BODY 1 ONE|END 1");
  wait_for(rig, Mode::Hybrid, Outcome::Recorded, 2);
  origin.stop();
  EXPECT_EQ(talk_h1(rig), kHeardH1);
  EXPECT_EQ(talk_h2(rig, {"two", "one"}), "HEAD 1 200, BODY 1 TWO|BODY 1 ONE|END 1");
  wait_for(rig, Mode::Hybrid, Outcome::Replayed, 2);
}

TEST(Duplex, ReplayThatForwardsLetsItPass) {
  RigOptions options = in_mode(Mode::Replay);
  options.config.routes.front().on_miss = config::OnMiss::Forward;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(talk_h1(rig), kHeardH1);
  EXPECT_EQ(talk_h2(rig), kHeardH2);
  wait_for(rig, Mode::Replay, Outcome::Forwarded, 2);
}

TEST(Duplex, HybridStillWaitsForASlowUploadThatIsOnTape) {
  WorkerRig rig(in_mode(Mode::Hybrid));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("stored"); }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(whole(kWords)), HasSubstr("stored"));
  wait_for(rig, Mode::Hybrid, Outcome::Recorded, 1);
  origin.stop();
  const uint64_t before = rig.count(Counter::HotCacheMiss);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kHead + chunk("one")));
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::HotCacheMiss) > before; })) << "the pause was not noticed";
  EXPECT_TRUE(wire.write(chunk("two") + chunk("three") + "0\r\n\r\n"));
  EXPECT_THAT(wire.read_until("stored"), EndsWith("stored"));
  wait_for(rig, Mode::Hybrid, Outcome::Replayed, 1);
}

TEST(Duplex, AClientThatWaitsForWhatIsNotOnTapeHasMissedWhenItsTimeIsOver) {
  WorkerRig rig(in_mode(Mode::Replay, std::chrono::milliseconds(800)));
  rig.go_to({});
  EXPECT_THAT(talk_h1(rig, {"one"}), HasSubstr("408"));
  EXPECT_THAT(talk_h2(rig, {"one"}), HasSubstr("HEAD 1 408"));
  wait_for(rig, Mode::Replay, Outcome::Missed, 2);
}

TEST(Duplex, AClientThatStopsInTheMiddleOfAnAnswerInTurnsHasMissedWhenItsTimeIsOver) {
  WorkerRig rig(in_mode(Mode::Record, std::chrono::milliseconds(800)));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(talk_h1(rig), kHeardH1);
  wait_for(rig, Mode::Record, Outcome::Recorded, 1);
  origin.stop();
  rig.set_mode(Mode::Replay);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kHead + chunk("one")));
  EXPECT_THAT(wire.rest(), EndsWith("3\r\nONE\r\n<RST>"));
  wait_for(rig, Mode::Replay, Outcome::Missed, 1);
  Wire raw = rig.connect();
  H2Wire h2(raw, http::Role::Client);
  EXPECT_TRUE(h2.codec().send_body(h2.open_post("/talk"), "one", std::nullopt));
  h2.flush();
  // Its stream or, as nothing else is on it, its connection: both have been idle for as long.
  EXPECT_THAT(h2.until("RESET"), testing::AnyOf(HasSubstr("BODY 1 ONE, RESET 1"), EndsWith("BODY 1 ONE, EOF")));
  wait_for(rig, Mode::Replay, Outcome::Missed, 2);
}

}  // namespace
}  // namespace tapdeck::server
