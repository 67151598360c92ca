// Flows that are not HTTP, or may not be looked into: what passes as bytes, and what replay refuses.
#include <gmock/gmock.h>

#include "daemon/server/waiting_origin.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using testing::StartsWith;

// Reads one line, sends it back with a mark, then everything else until the client ends.
ScriptedOrigin::End echo_lines(Wire& wire) {
  std::string all = wire.rest();
  wire.write("origin got " + all);
  return ScriptedOrigin::End::Close;
}

ScriptedOrigin::End greet_first(Wire& wire) {
  wire.write("220 ready\r\n");
  wire.write("you said " + wire.rest());
  return ScriptedOrigin::End::Close;
}

RigOptions in_mode(Mode mode) {
  RigOptions options;
  options.mode = mode;
  options.config.limits.sniff_timeout = 20ms;
  return options;
}

class TunnelMoves : public testing::TestWithParam<config::Splice> {};

TEST_P(TunnelMoves, CarriesBytesBothWaysWithHalfClose) {
  RigOptions options = in_mode(Mode::Record);
  options.config.capture.splice = GetParam();
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(echo_lines);
  rig.go_to(origin.endpoint());
  const std::string much(3 << 20, 'm');
  EXPECT_EQ(rig.ask("\x01opaque" + much), "origin got \x01opaque" + much + "<EOF><EOF>");
  EXPECT_EQ(rig.count(Counter::TunnelledNotTls), 1U);
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TunnelledBytesUp) == much.size() + 7; }));
}

INSTANTIATE_TEST_SUITE_P(, TunnelMoves, testing::Values(config::Splice::Splice, config::Splice::Copy));

TEST(Tunnel, AServerThatSpeaksFirstIsHeardAfterTheSniffTimeout) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(greet_first);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_EQ(wire.read_until("\n"), "220 ready\r\n");
  wire.write("QUIT");
  wire.half_close();
  EXPECT_EQ(wire.rest(), "you said QUIT<EOF><EOF>");
  EXPECT_EQ(rig.count(Counter::TunnelledServerFirst), 1U);
}

TEST(Tunnel, AClientThatSpeaksHttpLateIsStillServedAsHttp) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("late"); }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(eventually([&] { return origin.connections() == 1; })) << "dialled for the silent client";
  wire.write("GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n");
  wire.half_close();
  EXPECT_EQ(wire.rest(), with_length("late") + "<EOF>");
  EXPECT_EQ(origin.connections(), 1U) << "that connection serves it";
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
}

TEST(Tunnel, AClientThatStopsInsideItsFirstLineIsHandedOn) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin([](Wire& wire) {
    wire.write("origin got " + wire.read_n(9));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write("AUTHORISE");  // and waits
  EXPECT_EQ(wire.rest(), "origin got AUTHORISE<EOF>");
  EXPECT_EQ(rig.count(Counter::TunnelledNotTls), 1U);
}

TEST(Tunnel, ARequestWhoseFirstLineStallsIsStillOne) {
  RigOptions options = in_mode(Mode::Record);
  options.config.limits.header_timeout = 100ms;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(echo_lines);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write("GET /a HT");
  EXPECT_THAT(wire.rest(), StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(origin.connections(), 0U);
}

// Behind a silent client in the same flow: its sniff timeout has passed when the other one's has.
class InsideItsMethod : public testing::TestWithParam<std::string> {
 protected:
  InsideItsMethod() : rig(in_mode(Mode::Record)), origin(echo_lines) {}
  void pause_behind(Wire& wire, const std::string& piece) {
    const uint64_t tunnelled = rig.count(Counter::TunnelledNotTls);
    wire.write(piece);
    Wire other = rig.connect();
    other.write("AUTHORISE");
    EXPECT_TRUE(eventually([&] { return rig.count(Counter::TunnelledNotTls) == tunnelled + 1; }));
    other.close();
    ++others_;
    EXPECT_TRUE(eventually([&] { return origin.connections() == others_; }));
  }
  WorkerRig rig;
  ScriptedOrigin origin;
  size_t others_ = 0;
};

TEST_P(InsideItsMethod, AClientThatPausesIsStillServedAsHttp) {
  ScriptedOrigin http(http_origin([](const std::string&) { return with_length("slow"); }));
  rig.go_to(http.endpoint());
  const std::string request = "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n";
  Wire wire = rig.connect();
  ASSERT_TRUE(eventually([&] { return rig.flows.asked == 1; }));
  rig.go_to(origin.endpoint());
  pause_behind(wire, GetParam());
  wire.write(GetParam().starts_with('\r') ? request : request.substr(GetParam().size()));
  EXPECT_EQ(wire.read_until("slow"), with_length("slow"));
  wire.close();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
}

TEST_P(InsideItsMethod, AClientThatLeavesLeavesNothingUpstream) {
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  pause_behind(wire, GetParam());
  wire.close();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  EXPECT_EQ(origin.connections(), others_);
}

TEST_P(InsideItsMethod, WhatTurnsOutToBeSomethingElseIsTunnelledWhole) {
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  pause_behind(wire, GetParam());
  wire.write("\x01x");
  wire.half_close();
  EXPECT_EQ(wire.rest(), "origin got " + GetParam() + "\x01x<EOF><EOF>");
}

INSTANTIATE_TEST_SUITE_P(, InsideItsMethod, testing::Values("P", "PO", "POST", "POST ", "\r\n"),
                         [](const auto& info) { return "Case" + std::to_string(info.index); });

TEST(Tunnel, ARequestThatStallsInsideItsMethodIsTold408) {
  for (const std::string piece : {"GE", "GET "}) {
    RigOptions options = in_mode(Mode::Record);
    options.config.limits.header_timeout = 100ms;
    WorkerRig rig(std::move(options));
    ScriptedOrigin origin(echo_lines);
    rig.go_to(origin.endpoint());
    Wire wire = rig.connect();
    wire.write(piece);
    EXPECT_THAT(wire.rest(), StartsWith("HTTP/1.1 408 ")) << piece;
    EXPECT_EQ(origin.connections(), 0U);
    EXPECT_EQ(rig.count(Counter::LimitHeaderTimeout), 1U);
  }
}

TEST(Tunnel, LinesThatOnlyLookLikeRequestsReachTheirOrigin) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(echo_lines);
  rig.go_to(origin.endpoint());
  for (const std::string line : {"OPTIONS rtsp://a/cam RTSP/1.0\r\n\r\n", "GET hosts\n", "NICK bob\r\n", "PING"}) {
    EXPECT_EQ(rig.ask(line), "origin got " + line + "<EOF><EOF>");
  }
  EXPECT_EQ(rig.count(Counter::TunnelledNotTls), 4U);
}

TEST(Tunnel, ReplayResetsWhatCannotBeOnTapeAndCountsAMiss) {
  RigOptions options = in_mode(Mode::Replay);
  options.config.limits.header_timeout = 100ms;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(greet_first);
  rig.go_to(origin.endpoint());
  Wire opaque = rig.connect();
  opaque.write("\x01opaque");
  EXPECT_EQ(opaque.rest(), "<RST>");
  Wire silent = rig.connect();
  EXPECT_EQ(silent.rest(), "<RST>");
  EXPECT_EQ(rig.count(Counter::MissOpaque), 2U);
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Missed) == 2; }));
  EXPECT_EQ(rig.sockets.made, 0);
}

TEST(Tunnel, ARouteInReplayRefusesItByItsAddress) {
  RigOptions options = in_mode(Mode::Record);
  options.config.limits.header_timeout = 100ms;
  config::Route sealed;
  sealed.host = "127.0.0.*";
  sealed.mode = Mode::Replay;
  options.config.routes = {sealed};
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(greet_first);
  rig.go_to(origin.endpoint());
  Wire opaque = rig.connect();
  opaque.write("\x01opaque");
  EXPECT_EQ(opaque.rest(), "<RST>");
  Wire silent = rig.connect();
  EXPECT_EQ(silent.rest(), "<RST>");
  EXPECT_EQ(rig.count(Counter::MissOpaque), 2U);
  EXPECT_EQ(rig.sockets.made, 0);
}

// As it does for HTTP; what needs a request to be known decides about no connection.
TEST(Tunnel, ARouteThatForwardsLetsItThroughInReplay) {
  for (const Mode mode : {Mode::Passthrough, Mode::Record, Mode::Hybrid}) {
    ScriptedOrigin origin(greet_first);
    RigOptions options = in_mode(Mode::Replay);
    config::Route by_path, database;
    by_path.path = "/a";
    by_path.mode = Mode::Replay;
    database.port = origin.endpoint().port;
    database.mode = mode;
    options.config.routes = {by_path, database};
    WorkerRig rig(std::move(options));
    rig.go_to(origin.endpoint());
    EXPECT_EQ(rig.ask("\x01opaque"), "220 ready\r\nyou said \x01opaque<EOF><EOF>");
    Wire silent = rig.connect();
    EXPECT_EQ(silent.read_until("\n"), "220 ready\r\n");
    silent.half_close();
    EXPECT_EQ(silent.rest(), "you said <EOF><EOF>");
    EXPECT_EQ(rig.count(Counter::TunnelledNotTls), 1U);
    EXPECT_EQ(rig.count(Counter::TunnelledServerFirst), 1U);
    EXPECT_EQ(rig.count(Counter::MissOpaque), 0U);
    ScriptedOrigin elsewhere(greet_first);
    rig.go_to(elsewhere.endpoint());
    Wire opaque = rig.connect();
    opaque.write("\x01opaque");
    EXPECT_EQ(opaque.rest(), "<RST>");
  }
}

TEST(Tunnel, ItsConnectionOutlivesAChangeToReplay) {
  ScriptedOrigin origin(greet_first);
  RigOptions options = in_mode(Mode::Record);
  config::Route database;
  database.port = origin.endpoint().port;
  database.mode = Mode::Passthrough;
  options.config.routes = {database};
  WorkerRig rig(std::move(options));
  rig.go_to(origin.endpoint());
  Wire silent = rig.connect();
  EXPECT_EQ(silent.read_until("\n"), "220 ready\r\n");
  rig.set_mode(Mode::Replay);
  rig.worker->reset_tunnels(kSlot);
  silent.half_close();
  EXPECT_EQ(silent.rest(), "you said <EOF><EOF>");
}

TEST(Tunnel, ReplayNamesABypassedOne) {
  RigOptions options = in_mode(Mode::Replay);
  options.bypass = {"127.0.0.0/8"};
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(echo_lines);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(wire.rest(), "<RST>");
  ASSERT_TRUE(eventually([&] { return rig.misses.list().size() == 1; }));
  EXPECT_THAT(rig.misses.list().front().reason, StartsWith("bypassed: not on tape"));
}

TEST(Tunnel, ARouteForHttpsIsNotAboutOneInClear) {
  RigOptions options = in_mode(Mode::Record);
  config::Route sealed;
  sealed.scheme = config::Scheme::Https;
  sealed.mode = Mode::Replay;
  options.config.routes = {sealed};
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(echo_lines);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask("\x01opaque"), "origin got \x01opaque<EOF><EOF>");
}

TEST(Tunnel, AGreetingAfterAChangeToReplayIsNotHandedOn) {
  WaitingOrigin waiting(1);
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(waiting.script([](Wire& wire) { wire.write("220 ready\r\n"); }));
  rig.go_to(origin.endpoint());
  Wire silent = rig.connect();
  ASSERT_TRUE(eventually([&] { return waiting.begun == 1; }));
  rig.set_mode(Mode::Replay);
  waiting.go = true;
  EXPECT_EQ(silent.rest(), "<RST>");
  EXPECT_EQ(rig.count(Counter::MissOpaque), 1U);
}

TEST(Tunnel, ARequestThatMeetsTheEndOfAnIdleOriginIsStillServed) {
  WaitingOrigin waiting(1);
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(waiting.script([](Wire& wire) { wire.half_close(); }));
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  ASSERT_TRUE(eventually([&] { return waiting.begun == 1; }));
  waiting.meet(rig, client, "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n");
  const std::string answer = with_length("after all");
  EXPECT_EQ(client.read_n(answer.size()), answer);
  EXPECT_EQ(rig.count(Counter::TunnelledServerFirst), 0U);
  client.close();
}

TEST(Tunnel, ABypassRuleKeepsAFlowFromBeingRead) {
  RigOptions options = in_mode(Mode::Record);
  options.bypass = {"127.0.0.0/8"};
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(echo_lines);
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask("GET / HTTP/1.1\r\n\r\n"), "origin got GET / HTTP/1.1\r\n\r\n<EOF><EOF>");
  EXPECT_EQ(rig.count(Counter::TunnelledBypass), 1U);
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
}

TEST(Tunnel, ABypassedNameShowsTheClientTheOriginsOwnCertificate) {
  RigOptions options = in_mode(Mode::Record);
  options.config.tls.bypass = {"*.test"};
  WorkerRig rig(std::move(options));
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("direct"); }), context.get());
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_FALSE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa))) << "our CA did not sign this one";
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TunnelledBypass) == 1; }));
  wire.close();
}

TEST(Tunnel, AClientThatOffersNoHttpIsTunnelledAndInReplayRefused) {
  WorkerRig rig(in_mode(Mode::Record));
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }), context.get());
  rig.go_to(origin.endpoint());
  Wire tunnelled = rig.connect();
  EXPECT_FALSE(tunnelled.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "\x04smtp")));
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TunnelledAlpn) == 1; }));
  tunnelled.close();
  rig.set_mode(Mode::Replay);
  Wire refused = rig.connect();
  EXPECT_FALSE(refused.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "\x04smtp")));
  EXPECT_EQ(rig.count(Counter::MissOpaque), 1U);
}

TEST(Tunnel, AnUnreachableOriginBreaksTheClientsConnection) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(echo_lines);
  rig.go_to(origin.endpoint());
  origin.stop();
  Wire wire = rig.connect();
  wire.write("\x01opaque");
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_EQ(rig.count(Counter::UpstreamRefused), 1U);
  EXPECT_EQ(rig.count(Counter::TunnelsFailed), 1U);
  EXPECT_EQ(rig.count(Counter::TunnelledNotTls), 0U);
}

TEST(Tunnel, ADrainLetsItEndAndAStopResetsIt) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(greet_first);
  rig.go_to(origin.endpoint());
  Wire patient = rig.connect();
  EXPECT_EQ(patient.read_until("\n"), "220 ready\r\n");
  Wire endless = rig.connect();
  EXPECT_EQ(endless.read_until("\n"), "220 ready\r\n");
  rig.worker->drain();
  patient.write("bye");
  patient.half_close();
  EXPECT_EQ(patient.rest(), "you said bye<EOF><EOF>");
  EXPECT_FALSE(rig.worker->is_drained());
  rig.worker->stop();
  EXPECT_EQ(endless.rest(), "<RST>") << "not as if that were all";
}

TEST(Tunnel, AnIdleTunnelEnds) {
  RigOptions options = in_mode(Mode::Record);
  options.config.limits.idle_timeout = 50ms;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(echo_lines);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write("\x01opaque");
  EXPECT_THAT(wire.rest(), testing::AnyOf(StartsWith("<"), StartsWith("origin got")));
  EXPECT_EQ(rig.count(Counter::LimitIdleTimeout), 1U);
}

}  // namespace
}  // namespace tapdeck::server
