// Hosts in `bypass` that are spoken to in clear HTTP: forwarded and never kept, and a miss in replay.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/proxy_rig.h"

namespace tapdeck::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string asking_for(const std::string& host) {
  return "GET /a HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
}

const std::string kBypassedHint = "\"hint\":\"the host is bypassed, so nothing of it is ever recorded\"}";

struct BypassedHttp : testing::Test {
  static RigOptions for_all(std::vector<std::string> rules) {
    RigOptions options;
    options.config.tls.bypass = std::move(rules);
    return options;
  }
  void expect_nothing_kept(WorkerRig& rig, Mode mode) {
    rig.go_to(origin.endpoint());
    EXPECT_EQ(rig.ask(asking_for("secret.test")), with_length("live") + "<EOF>");
    EXPECT_EQ(rig.ask(asking_for("SECRET.test:80")), with_length("live") + "<EOF>");
    EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Passthrough, Outcome::Forwarded) == 2; }));
    EXPECT_EQ(rig.ask(asking_for("api.test")), with_length("live") + "<EOF>");
    EXPECT_TRUE(eventually([&] { return rig.outcomes(mode, Outcome::Recorded) == 1; }));
    EXPECT_EQ(rig.store->stored_recordings(), 1U);
  }

  ScriptedOrigin origin{http_origin([](const std::string&) { return with_length("live"); })};
};

TEST_F(BypassedHttp, IsForwardedAndNotKeptWhileOthersAreRecorded) {
  for (const Mode mode : {Mode::Record, Mode::Hybrid}) {
    WorkerRig of_target;
    of_target.set_mode(mode, {"secret.*"});
    expect_nothing_kept(of_target, mode);
    WorkerRig of_all(for_all({"*.other", "secret.test"}));
    of_all.set_mode(mode);
    expect_nothing_kept(of_all, mode);
  }
}

TEST_F(BypassedHttp, OverHttp2TooStreamByStream) {
  WorkerRig rig(for_all({"api.test"}));
  ScriptedOrigin h2_origin([](Wire& wire) {
    H2Wire h2(wire, http::Role::Server);
    h2.until("END 1");
    h2.respond(1, 200, "live");
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(h2_origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/a");
  EXPECT_THAT(client.until("END 1"), HasSubstr("BODY 1 live"));
  raw.close();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Passthrough, Outcome::Forwarded) == 1; }));
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
}

TEST_F(BypassedHttp, IsAMissInReplayThoughItIsOnTapeFromBefore) {
  WorkerRig rig;
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(asking_for("secret.test")), with_length("live") + "<EOF>");
  rig.set_mode(Mode::Replay, {"secret.test"});
  const int sockets = rig.sockets.made;
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_THAT(
        rig.ask(asking_for("secret.test")),
        AllOf(StartsWith("HTTP/1.1 502 "), HasSubstr("{\"error\":\"not_recorded\","), HasSubstr(kBypassedHint)));
  }
  EXPECT_EQ(rig.count_of_target(Counter::MissOpaque), 2U);
  EXPECT_EQ(rig.outcomes(Mode::Replay, Outcome::Missed), 2U);
  EXPECT_EQ(rig.sockets.made, sockets);
}

TEST_F(BypassedHttp, IsAMissToGrpcByAStatus) {
  const std::string call =
      "POST /t.S/Get HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/grpc\r\nTE: trailers\r\n"
      "Content-Length: 5\r\n\r\n" +
      std::string(5, '\0');
  WorkerRig rig;
  rig.go_to(origin.endpoint());
  rig.set_mode(Mode::Replay, {"api.test"});
  EXPECT_THAT(rig.ask(call),
              AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("grpc-status: 9\r\n"), HasSubstr("the host is bypassed")));
}

TEST_F(BypassedHttp, IsTheOneAskedForThroughTheProxy) {
  ProxyRig proxy(Mode::Record, {}, {"web.test"});
  const std::string request =
      "GET http://web.test:" + port_of(origin) + "/a HTTP/1.1\r\nHost: web.test:" + port_of(origin) + "\r\n\r\n";
  EXPECT_EQ(proxy.ask(request), with_length("live"));
  EXPECT_TRUE(eventually([&] { return proxy.rig.outcomes(Mode::Passthrough, Outcome::Forwarded) == 1; }));
  EXPECT_EQ(proxy.rig.store->stored_recordings(), 0U);
}

// Its ClientHello has named another.
TEST_F(BypassedHttp, IsNotWhatIsNamedInsideTls) {
  WorkerRig rig(for_all({"secret.test"}));
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin secure(http_origin([](const std::string&) { return with_length("live"); }), context.get());
  rig.go_to(secure.endpoint());
  EXPECT_EQ(rig.ask(asking_for("secret.test"), true), with_length("live") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
}

}  // namespace
}  // namespace tapdeck::server
