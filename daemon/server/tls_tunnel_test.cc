// TLS that carries something else than HTTP: what a client without ALPN says is looked at behind its handshake.
#include "daemon/server/tls_tunnel.h"

#include <gmock/gmock.h>

#include "daemon/server/proxy_rig.h"
#include "daemon/server/waiting_origin.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const std::string kRedisPing = "*1\r\n$4\r\nPING\r\n";
const std::string kPlainGet = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

ScriptedOrigin::End echo_over_tls(Wire& wire) {
  wire.write("origin got " + wire.rest());
  return ScriptedOrigin::End::Close;
}

ScriptedOrigin::End greet_over_tls(Wire& wire) {
  wire.write("220 ready\r\n");
  wire.write("you said " + wire.rest());
  return ScriptedOrigin::End::Close;
}

// A rig with an origin that speaks TLS.
struct TlsRig {
  explicit TlsRig(ScriptedOrigin::Script script, Mode mode = Mode::Record) : TlsRig(std::move(script), in_mode(mode)) {}
  TlsRig(ScriptedOrigin::Script script, RigOptions options) : rig(std::move(options)) {
    origin.emplace(std::move(script), context.get());
    rig.go_to(origin->endpoint());
  }
  static RigOptions in_mode(Mode mode) {
    RigOptions options;
    options.mode = mode;
    options.config.limits.sniff_timeout = 20ms;
    return options;
  }
  [[nodiscard]] Wire connect() {
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "")));
    return wire;
  }
  [[nodiscard]] std::string ask(const std::string& bytes) {
    Wire wire = connect();
    EXPECT_TRUE(wire.write(bytes));
    wire.half_close();
    return wire.rest();
  }

  WorkerRig rig;
  SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  std::optional<ScriptedOrigin> origin;
};

class TlsTunnel : public testing::TestWithParam<Mode> {};
INSTANTIATE_TEST_SUITE_P(, TlsTunnel, testing::Values(Mode::Record, Mode::Hybrid, Mode::Passthrough),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(TlsTunnel, CarriesBytesBothWaysWithHalfClose) {
  TlsRig tls(echo_over_tls, GetParam());
  const std::string much(3 << 20, 'm');
  EXPECT_EQ(tls.ask(kRedisPing + much), "origin got " + kRedisPing + much + "<EOF><EOF>");
  EXPECT_EQ(tls.rig.count(Counter::TunnelledNotHttp), 1U);
  EXPECT_EQ(tls.origin->connections(), 1U) << "the connection that verified the origin";
  EXPECT_TRUE(eventually([&] { return tls.rig.count(Counter::TunnelledBytesUp) == kRedisPing.size() + much.size(); }));
  EXPECT_EQ(tls.rig.store->stored_recordings(), 0U);
}

TEST_P(TlsTunnel, AServerThatSpeaksFirstIsHeardAfterTheSniffTimeout) {
  TlsRig tls(greet_over_tls, GetParam());
  Wire wire = tls.connect();
  EXPECT_EQ(wire.read_until("\n"), "220 ready\r\n");
  wire.write("QUIT");
  wire.half_close();
  EXPECT_EQ(wire.rest(), "you said QUIT<EOF><EOF>");
  EXPECT_EQ(tls.rig.count(Counter::TunnelledServerFirst), 1U);
  EXPECT_EQ(tls.origin->connections(), 1U);
}

TEST(TlsTunnelled, TheSecondClientOfAnOriginIsServedAlike) {
  TlsRig tls(greet_over_tls);
  for (int i = 0; i < 3; ++i) {
    Wire wire = tls.connect();
    EXPECT_EQ(wire.read_until("\n"), "220 ready\r\n");
    wire.half_close();
    EXPECT_EQ(wire.rest(), "you said <EOF><EOF>");
  }
  EXPECT_EQ(tls.origin->connections(), 3U);
}

TEST(TlsTunnelled, WhatIsCutOffOnOneSideIsCutOffOnTheOther) {
  TlsRig tls([](Wire& wire) {
    wire.read_n(kRedisPing.size());
    wire.write("half an ans");
    SSL_set_quiet_shutdown(wire.ssl(), 1);
    return ScriptedOrigin::End::Close;
  });
  Wire wire = tls.connect();
  wire.write(kRedisPing);
  EXPECT_EQ(wire.rest(), "half an ans<EOF>");
  EXPECT_EQ(SSL_get_shutdown(wire.ssl()) & SSL_RECEIVED_SHUTDOWN, 0) << "no close_notify";
}

TEST(TlsTunnelled, AClientThatEndsByItsFinAloneIsAnswered) {
  TlsRig tls([](Wire& wire) {
    wire.read_n(kRedisPing.size());
    char none = 0;
    EXPECT_EQ(::recv(wire.fd(), &none, 1, MSG_PEEK), 0) << "it was cut off here as well, without close_notify";
    wire.write("+PONG");
    return ScriptedOrigin::End::Close;
  });
  Wire wire = tls.connect();
  wire.write(kRedisPing);
  ::shutdown(wire.fd(), SHUT_WR);
  EXPECT_EQ(wire.rest(), "+PONG<EOF>");
  EXPECT_NE(SSL_get_shutdown(wire.ssl()) & SSL_RECEIVED_SHUTDOWN, 0) << "told by close_notify, as its origin did";
}

TEST(TlsTunnelled, AnUnreachableOriginIsCounted) {
  TlsRig tls(greet_over_tls);
  tls.origin->stop();
  Wire wire = tls.connect();
  wire.write(kRedisPing);
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_EQ(tls.rig.count(Counter::TunnelsFailed), 1U);
}

TEST(TlsTunnelled, AnOriginThatLeavesASilentClientTakesItAlong) {
  TlsRig tls([](Wire& wire) {
    SSL_set_quiet_shutdown(wire.ssl(), 1);
    return ScriptedOrigin::End::Close;
  });
  Wire wire = tls.connect();
  EXPECT_EQ(wire.rest(), "<EOF>");
}

TEST(TlsTunnelled, ASilentClientThatIsCutOffLeavesNothingOpen) {
  TlsRig tls(greet_over_tls);
  Wire wire = tls.connect();
  SSL_set_quiet_shutdown(wire.ssl(), 1);
  wire.half_close();
  EXPECT_TRUE(eventually([&] { return tls.rig.active() == 0; }));
}

TEST(TlsTunnelled, AResetOfTheOriginIsOneOfTheClient) {
  TlsRig tls([](Wire& wire) {
    wire.read_n(kRedisPing.size());
    return ScriptedOrigin::End::Reset;
  });
  Wire wire = tls.connect();
  wire.write(kRedisPing);
  EXPECT_EQ(wire.rest(), "<RST>");
}

TEST(TlsTunnelled, ReplayResetsItAndCountsAMiss) {
  WorkerRig rig(TlsRig::in_mode(Mode::Replay));
  ScriptedOrigin origin(greet_over_tls);
  rig.go_to(origin.endpoint());
  Wire opaque = rig.connect();
  ASSERT_TRUE(opaque.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "")));
  opaque.write(kRedisPing);
  EXPECT_EQ(opaque.rest(), "<RST>");
  EXPECT_EQ(rig.count(Counter::MissOpaque), 1U);
  EXPECT_EQ(rig.sockets.made, 0);
}

TEST(TlsTunnelled, ARouteInReplayKeepsItFromItsOrigin) {
  RigOptions options = TlsRig::in_mode(Mode::Record);
  options.config.limits.header_timeout = 200ms;
  config::Route sealed;
  sealed.host = "*.test";
  sealed.mode = Mode::Replay;
  options.config.routes = {sealed};
  TlsRig tls(greet_over_tls, std::move(options));
  Wire opaque = tls.connect();
  opaque.write(kRedisPing);
  EXPECT_EQ(opaque.rest(), "<RST>");
  Wire silent = tls.connect();
  EXPECT_EQ(silent.rest(), "<RST>") << "and no greeting";
  EXPECT_EQ(tls.rig.count(Counter::MissOpaque), 2U);
  EXPECT_EQ(tls.rig.count(Counter::TunnelledNotHttp), 0U);
  EXPECT_EQ(tls.rig.count(Counter::TunnelledServerFirst), 0U);
}

TEST(TlsTunnelled, ARouteThatForwardsLetsItThroughInReplay) {
  RigOptions options = TlsRig::in_mode(Mode::Replay);
  config::Route open;
  open.host = "*.test";
  open.mode = Mode::Passthrough;
  options.config.routes = {open};
  TlsRig tls(greet_over_tls, std::move(options));
  EXPECT_EQ(tls.ask(kRedisPing), "220 ready\r\nyou said " + kRedisPing + "<EOF><EOF>");
  Wire silent = tls.connect();
  EXPECT_EQ(silent.read_until("\n"), "220 ready\r\n");
  silent.close();
  EXPECT_EQ(tls.rig.count(Counter::MissOpaque), 0U);
}

// A silent client that is listened to together with its origin.
Wire connect_silent(TlsRig& tls, const WaitingOrigin& origin) {
  tls.connect().close();  // it is known from here on
  EXPECT_TRUE(eventually([&] { return origin.begun == 1; }));
  Wire silent = tls.connect();
  EXPECT_TRUE(eventually([&] { return origin.begun == 2; }));
  return silent;
}

TEST(TlsTunnelled, AGreetingAfterAChangeToReplayIsNotHandedOn) {
  WaitingOrigin waiting(2);
  TlsRig tls(waiting.script([](Wire& wire) { wire.write("220 ready\r\n"); }));
  Wire silent = connect_silent(tls, waiting);
  tls.rig.set_mode(Mode::Replay);
  waiting.go = true;
  EXPECT_EQ(silent.rest(), "<RST>");
  EXPECT_EQ(tls.rig.count(Counter::MissOpaque), 1U);
}

TEST(TlsTunnelled, ARequestThatMeetsTheEndOfAnIdleOriginIsStillServed) {
  WaitingOrigin waiting(2);
  TlsRig tls(waiting.script([](Wire& wire) {
    SSL_shutdown(wire.ssl());
    ::shutdown(wire.fd(), SHUT_WR);
  }));
  Wire client = connect_silent(tls, waiting);
  waiting.meet(tls.rig, client, kPlainGet);
  const std::string answer = with_length("after all");
  EXPECT_EQ(client.read_n(answer.size()), answer);
  EXPECT_EQ(tls.rig.count(Counter::TunnelledServerFirst), 0U);
  client.close();
}

TEST(TlsTunnelled, ADrainEndsASilentOneByCloseNotify) {
  TlsRig tls([](Wire& wire) {
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  Wire silent = tls.connect();
  ASSERT_TRUE(eventually([&] { return tls.rig.count(Counter::TlsDownOk) == 1; }));
  tls.rig.worker->drain();
  EXPECT_EQ(silent.rest(), "<EOF>");
  EXPECT_NE(SSL_get_shutdown(silent.ssl()) & SSL_RECEIVED_SHUTDOWN, 0);
}

TEST(TlsTunnelled, AnOriginThatDoesNotVerifyIsNeverSpokenTo) {
  TlsRig tls(echo_over_tls);
  const SslContext stranger = origin_context(*tls.rig.ca, tls::leaf_for("other.test"));
  ScriptedOrigin other(echo_over_tls, stranger.get());
  tls.rig.go_to(other.endpoint());
  Wire careless = tls.rig.connect();  // a client that does not look
  SslOwned blind = tls.rig.client_ssl(WorkerRig::Trust::OurCa, "");
  SSL_set_verify(blind.get(), SSL_VERIFY_NONE, nullptr);
  ASSERT_TRUE(careless.start_tls(std::move(blind)));
  careless.write(kRedisPing);
  EXPECT_EQ(careless.rest(), "<RST>");
}

TEST(TlsTunnelled, AClientWithoutAlpnThatSpeaksHttpIsRecorded) {
  TlsRig tls(http_origin([](const std::string&) { return with_length("plain old"); }));
  EXPECT_EQ(tls.ask(kPlainGet), with_length("plain old") + "<EOF>");
  EXPECT_EQ(tls.origin->connections(), 1U);
  Wire late = tls.connect();
  EXPECT_TRUE(eventually([&] { return tls.origin->connections() == 2; })) << "asked for the silent client";
  late.write(kPlainGet);
  late.half_close();
  EXPECT_EQ(late.rest(), with_length("plain old") + "<EOF>");
  EXPECT_EQ(tls.origin->connections(), 2U);
  EXPECT_TRUE(eventually([&] { return tls.rig.outcomes(Mode::Record, Outcome::Recorded) == 2; }));
  tls.rig.set_mode(Mode::Replay);
  EXPECT_EQ(tls.ask(kPlainGet), with_length("plain old") + "<EOF>");
}

TEST(TlsTunnelled, NoAlpnWhereNoneWasAgreedThenIsReplayedSo) {
  TlsRig tls(http_origin([](const std::string&) { return with_length("without ALPN"); }));
  SSL_CTX_set_alpn_select_cb(tls.context.get(), nullptr, nullptr);
  const auto ask = [&] {
    Wire wire = tls.rig.connect();
    EXPECT_TRUE(wire.start_tls(tls.rig.client_ssl(WorkerRig::Trust::OurCa, "\x02h2")));
    const unsigned char* agreed = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(wire.ssl(), &agreed, &size);
    EXPECT_EQ(size, 0U);
    wire.write(kPlainGet);
    wire.half_close();
    return wire.rest();
  };
  const std::string recorded = ask();
  EXPECT_EQ(recorded, with_length("without ALPN") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return tls.rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  tls.rig.set_mode(Mode::Replay);
  EXPECT_EQ(ask(), recorded);
}

// curl --http1.0, whatever the origin picks of it.
TEST(TlsTunnelled, NotAClientThatOffersHttp10Alone) {
  TlsRig tls(http_origin([](const std::string&) { return with_length("for 1.0"); }));
  const auto ask = [&] {
    Wire wire = tls.rig.connect();
    EXPECT_TRUE(wire.start_tls(tls.rig.client_ssl(WorkerRig::Trust::OurCa, "\x08http/1.0")));
    wire.write("GET / HTTP/1.0\r\nHost: api.test\r\n\r\n");
    return wire.rest();
  };
  const std::string recorded = ask();
  EXPECT_THAT(recorded, HasSubstr("for 1.0"));
  EXPECT_TRUE(eventually([&] { return tls.rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  tls.rig.set_mode(Mode::Replay);
  EXPECT_EQ(ask(), recorded);
  EXPECT_EQ(tls.rig.count(Counter::TunnelledAlpn), 0U);
}

TEST(TlsTunnelled, OneThroughAConnectAsWell) {
  ProxyRig proxy;
  const SslContext context = origin_context(*proxy.rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(echo_over_tls, context.get());
  Wire wire = proxy.tunnel(std::string(kHost) + ":" + port_of(origin));
  ASSERT_TRUE(wire.start_tls(proxy.rig.client_ssl(WorkerRig::Trust::OurCa, "")));
  wire.write(kRedisPing);
  wire.half_close();
  EXPECT_EQ(wire.rest(), "origin got " + kRedisPing + "<EOF><EOF>");
  EXPECT_EQ(origin.connections(), 1U) << "what CONNECT dialled is what the tunnel uses";
}

TEST(TlsTunnelled, AStopResetsIt) {
  TlsRig tls(greet_over_tls);
  Wire endless = tls.connect();
  EXPECT_EQ(endless.read_until("\n"), "220 ready\r\n");
  tls.rig.worker->drain();
  EXPECT_FALSE(tls.rig.worker->is_drained());
  tls.rig.worker->stop();
  EXPECT_EQ(endless.rest(), "<RST>") << "not as if that were all";
}

TEST(TlsTunnelled, AnIdleOneEnds) {
  RigOptions options = TlsRig::in_mode(Mode::Record);
  options.config.limits.idle_timeout = 50ms;
  WorkerRig rig(std::move(options));
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(echo_over_tls, context.get());
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  ASSERT_TRUE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "")));
  wire.write(kRedisPing);
  EXPECT_THAT(wire.rest(), HasSubstr("<"));
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::LimitIdleTimeout) == 1; }));
}

}  // namespace
}  // namespace tapdeck::server
