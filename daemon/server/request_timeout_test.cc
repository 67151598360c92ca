// limits.request_timeout inside a request: our limit on a client that is still sending; else the origin's silence.
#include <gmock/gmock.h>

#include "daemon/modes/forward.h"
#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

RigOptions short_of_time() {
  RigOptions options;
  options.config.limits.request_timeout = std::chrono::milliseconds(200);
  return options;
}

// Answers the head of a request at once, in part, and reads on.
ScriptedOrigin::End begin_to_answer(Wire& wire) {
  if (!wire.read_until("\r\n\r\n").ends_with("\r\n\r\n")) return ScriptedOrigin::End::Close;
  wire.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
  wire.rest();
  return ScriptedOrigin::End::Close;
}

ScriptedOrigin::End only_read(Wire& wire) {
  wire.rest();
  return ScriptedOrigin::End::Close;
}

const std::string kUnfinishedPost =
    "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 50\r\n\r\n" + std::string(20, 'x');

std::vector<store::Recording> recorded(WorkerRig& rig) {
  auto listed = rig.store->list_recordings({}, 10);
  EXPECT_TRUE(listed);
  return listed ? std::move(listed->items) : std::vector<store::Recording>{};
}

TEST(RequestTimeout, InsideAnUploadThatIsAnsweredAlreadyIsNotTheOriginsSilence) {
  WorkerRig rig(short_of_time());
  ScriptedOrigin origin(begin_to_answer);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kUnfinishedPost));
  EXPECT_THAT(wire.rest(), EndsWith("half<RST>"));
  ASSERT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  const auto all = recorded(rig);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].outcome.kind, store::Outcome::Kind::Incomplete);
  EXPECT_EQ(all[0].outcome.reason, "request_timeout");
}

TEST(RequestTimeout, InsideAnUploadOverHttp2IsNotTheOriginsSilenceEither) {
  WorkerRig rig(short_of_time());
  ScriptedOrigin origin([](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    wire.until("HEAD");
    http::ResponseHead head;
    head.status = 200;
    EXPECT_TRUE(wire.codec().send_response(1, head, http::EndStream::No));
    wire.flush();
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire wire(raw, http::Role::Client);
  wire.open_post("/up");
  EXPECT_THAT(wire.until("RESET"), HasSubstr("HEAD 1 200"));
  ASSERT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  const auto all = recorded(rig);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].outcome.kind, store::Outcome::Kind::Incomplete);
  EXPECT_EQ(all[0].outcome.reason, "request_timeout");
}

TEST(RequestTimeout, InsideAnUploadIsA408AndLeavesNothingOnTheTape) {
  WorkerRig rig(short_of_time());
  ScriptedOrigin origin(only_read);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kUnfinishedPost));
  const std::string answer = wire.rest();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(answer, HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_THAT(answer, HasSubstr("\"error\":\"request_timeout\""));
  EXPECT_THAT(answer, EndsWith("<EOF>"));
  ASSERT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
  EXPECT_EQ(rig.count(Counter::RecordingIncomplete), 0U);
  EXPECT_EQ(rig.count(Counter::UpstreamTimeout), 0U);
}

TEST(RequestTimeout, InsideAnUploadOfKnownLengthOverHttp2IsA408) {
  WorkerRig rig(short_of_time());
  ScriptedOrigin origin(only_read);
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire wire(raw, http::Role::Client);
  http::Headers headers;
  headers.add("content-length", "50");
  EXPECT_NE(wire.open_post("/up", headers), 0U);
  EXPECT_THAT(wire.until("END"), HasSubstr("HEAD 1 408"));
}

// It may well wait for the head of the answer, and gRPC takes a 504 for UNAVAILABLE.
TEST(RequestTimeout, InAStreamOfNoKnownLengthIsA504AndLeavesNothingOnTheTape) {
  for (const char* type : {"application/grpc", "application/connect+proto"}) {
    WorkerRig rig(short_of_time());
    ScriptedOrigin origin(only_read);
    rig.go_to(origin.endpoint());
    Wire raw = rig.connect();
    H2Wire wire(raw, http::Role::Client);
    http::Headers headers;
    headers.add("content-type", type);
    EXPECT_NE(wire.open_post("/t.S/Talk", headers), 0U);
    const std::string answer = wire.until("END");
    EXPECT_THAT(answer, HasSubstr("HEAD 1 504"));
    EXPECT_THAT(answer, HasSubstr("\"error\":\"upstream_timeout\""));
    ASSERT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
    EXPECT_EQ(rig.count(Counter::RecordingIncomplete) + rig.count(Counter::RecordingFailed), 0U) << type;
    EXPECT_THAT(recorded(rig), testing::IsEmpty());
  }
}

TEST(RequestTimeout, OfAClientThatWaitsForItsInvitationIsA504) {
  WorkerRig rig(short_of_time());
  ScriptedOrigin origin(only_read);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write("POST /a HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
  const std::string answer = wire.rest();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 504 "));
  EXPECT_THAT(answer, HasSubstr("\"error\":\"upstream_timeout\""));
  EXPECT_THAT(answer, EndsWith("<EOF>"));
  ASSERT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
  EXPECT_EQ(rig.count(Counter::RecordingIncomplete) + rig.count(Counter::RecordingFailed), 0U);
}

using Clock = std::chrono::steady_clock;

// Less than is waited for the rest of an upload whose beginning is not on tape.
constexpr std::chrono::seconds kSoon{3};

TEST(RequestTimeout, IsNotLateWhereAnUploadStandsStillThatMayBeOnTape) {
  for (const Mode mode : {Mode::Hybrid, Mode::Replay}) {
    RigOptions options;
    options.mode = mode;
    options.config.limits.request_timeout = modes::kRestOfBody * 3 / 2;  // while more of it is waited for
    config::Route route;
    route.on_miss = config::OnMiss::Forward;
    options.config.routes.push_back(std::move(route));
    WorkerRig rig(std::move(options));
    rig.go_to(*Endpoint::parse("127.0.0.1:1"));
    const auto began = Clock::now();
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.write("POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 9\r\n\r\nha"));
    EXPECT_THAT(wire.read_until("}\n"), StartsWith("HTTP/1.1 408 "));
    EXPECT_LT(Clock::now() - began, kSoon) << to_string(mode) << ": the answer";
    EXPECT_EQ(wire.rest(), "<EOF>");
    EXPECT_LT(Clock::now() - began, kSoon) << to_string(mode) << ": the end";
  }
}

TEST(RequestTimeout, IsNotLateWhereACallHasALaterDeadline) {
  WorkerRig rig(short_of_time());
  rig.go_to(*Endpoint::parse("127.0.0.1:1"));
  rig.set_mode(Mode::Replay);
  const auto began = Clock::now();
  Wire wire = rig.connect();
  EXPECT_TRUE(
      wire.write("POST /t.S/Talk HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/grpc\r\nTE: trailers\r\n"
                 "grpc-timeout: 8S\r\nTransfer-Encoding: chunked\r\n\r\n"));
  EXPECT_THAT(wire.rest(), EndsWith("<EOF>"));
  EXPECT_LT(Clock::now() - began, kSoon);
}

// The origin has all of the request, and is what takes so long.
TEST(RequestTimeout, BehindTheRequestIsA504) {
  WorkerRig rig(short_of_time());
  ScriptedOrigin origin(only_read);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write("GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n"));
  const std::string answer = wire.read_until("}\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 504 "));
  EXPECT_THAT(answer, HasSubstr("\"error\":\"upstream_timeout\""));
  ASSERT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
  EXPECT_EQ(rig.count(Counter::RecordingIncomplete), 0U) << "our own answer";
}

}  // namespace
}  // namespace tapdeck::server
