// A captured client behind a proxy of somebody else's: its CONNECTs, and what must not answer them.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string kConnect = "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n";
const std::string kAuthorization = "Proxy-Authorization: Basic dTpw\r\n";

// Wants to know who asks; then its tunnel echoes.
ScriptedOrigin::End proxy(Wire& wire) {
  const std::string head = wire.read_until("\r\n\r\n");
  if (!head.contains("Proxy-Authorization")) {
    wire.write("HTTP/1.1 407 Proxy Authentication Required\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    return ScriptedOrigin::End::Close;
  }
  wire.write("HTTP/1.1 200 Connection established\r\n\r\n");
  wire.write("echo:" + wire.read_some());
  return ScriptedOrigin::End::Close;
}

std::string through(WorkerRig& rig) {
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kConnect + kAuthorization + "\r\n"));
  const std::string head = wire.read_until("\r\n\r\n");
  if (!head.starts_with("HTTP/1.1 200")) return head + wire.rest();
  EXPECT_TRUE(wire.write("hello"));
  return head + wire.rest();
}

class ForeignProxy : public testing::TestWithParam<Mode> {};

TEST_P(ForeignProxy, IsAskedForEachTunnelAndItsRefusalAnswersNoneInReplay) {
  RigOptions options;
  options.mode = GetParam();
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(proxy);
  rig.go_to(origin.endpoint());
  for (uint64_t turn = 1; turn <= 2; ++turn) {
    EXPECT_THAT(rig.ask(kConnect + "\r\n"), StartsWith("HTTP/1.1 407"));
    EXPECT_THAT(through(rig), HasSubstr("echo:hello"));
    EXPECT_TRUE(eventually([&] { return rig.outcomes(GetParam(), Outcome::Forwarded) == 2 * turn; }));
  }
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (const std::string& answer : {rig.ask(kConnect + "\r\n"), through(rig)}) {
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 502"));
    EXPECT_THAT(answer, HasSubstr("not_recorded"));
    EXPECT_THAT(answer, HasSubstr("tunnels through another proxy are passed on and not recorded"));
  }
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Missed) == 2; }));
}

INSTANTIATE_TEST_SUITE_P(, ForeignProxy, testing::Values(Mode::Record, Mode::Hybrid));

// Sent without waiting for the answer, and late: meant for the tunnel, and never read as the next request.
TEST(ForeignProxyMiss, WhatFollowsARefusedConnectIsNoRequest) {
  RigOptions options;
  options.mode = Mode::Replay;
  WorkerRig rig(std::move(options));
  rig.go_to(local_endpoint(listen_on_loopback().get()));
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kConnect + "\r\n"));
  const std::string head = wire.read_until("\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(head, HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_TRUE(wire.write("GET /inside HTTP/1.1\r\nHost: api.test\r\n\r\n"));
  wire.half_close();
  EXPECT_THAT(wire.rest(), Not(HasSubstr("HTTP/1.1")));
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  EXPECT_EQ(rig.outcomes(Mode::Replay, Outcome::Missed), 1U);
}

// A handshake of several steps (NTLM, Negotiate) belongs to the connection.
TEST(ForeignProxyMiss, WhoIsAskedForCredentialsSendsThemOnTheSameConnection) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    while (!wire.read_until("\r\n\r\n").contains("Proxy-Authorization")) {
      if (!wire.write("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")) return ScriptedOrigin::End::Close;
    }
    wire.write("HTTP/1.1 200 Connection established\r\n\r\n");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kConnect + "\r\n"));
  EXPECT_THAT(wire.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 407"));
  EXPECT_TRUE(wire.write(kConnect + kAuthorization + "\r\n"));
  EXPECT_THAT(wire.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(origin.connections(), 1U);
}

TEST(ForeignProxyMiss, AnOriginMayStillBeAskedForATunnel) {
  RigOptions options;
  options.mode = Mode::Replay;
  options.config.routes.emplace_back().on_miss = config::OnMiss::Forward;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(proxy);
  rig.go_to(origin.endpoint());
  EXPECT_THAT(through(rig), HasSubstr("echo:hello"));
}

}  // namespace
}  // namespace tapdeck::server
