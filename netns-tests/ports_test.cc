// Ports and descriptors are finite: with 2,000 ephemeral ports in the client's namespace, only listeners spread over
// addresses and ports carry 6,000 flows at once and 60,000 short ones, and in record only a pooled upstream does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

class Ports : public ::testing::Test {
 protected:
  Ports() {
    captured_.lab().client().set_sysctl("ipv4.ip_local_port_range", "40000 41999");
    // The daemon has been there before, with listeners for the range as it was.
    EXPECT_TRUE(eventually(10s, [&] { return captured_.daemon().metric("tapdeck_listeners") >= 80; }));
    EXPECT_EQ(raw_tcp(captured_.seat(), kOriginV4, 80, get_request("/one")).status, 0);
    EXPECT_EQ(raw_tcp(captured_.seat(), kOriginV6, 80, get_request("/one")).status, 0);
  }

  // Everything is over: no connection is counted any more.
  void expect_drained() {
    EXPECT_TRUE(eventually(30s, [&] { return captured_.daemon().metric("tapdeck_active_connections") == 0; }))
        << captured_.daemon().metric("tapdeck_active_connections");
  }

  Captured captured_;
  ScriptedOrigin origin_{captured_.lab().origin(), 80, std::nullopt, answers({{"/one", ok_response("one")}})};
};

TEST_F(Ports, SixThousandConcurrentFlowsToOneDestinationReplay) {
  captured_.replay();
  for (const auto* address : {kOriginV4, kOriginV6}) {
    const auto output =
        load(captured_.seat(), address, 80, {"--flows", "6000", "--parallel", "500", "--path", "/one", "--hold"});
    EXPECT_THAT(output.out, HasSubstr("\"held\":6000")) << address << output.out;
    expect_drained();
  }
}

// Six thousand clients that stay, on an upstream leg that has the client's own two thousand ports.
TEST_F(Ports, SixThousandConcurrentFlowsToOneDestinationRecordThroughAPooledUpstream) {
  for (const auto* address : {kOriginV4, kOriginV6}) {
    const auto before = origin_.connections();
    const auto output =
        load(captured_.seat(), address, 80, {"--flows", "6000", "--parallel", "500", "--path", "/one", "--hold"});
    EXPECT_THAT(output.out, HasSubstr("\"held\":6000")) << address << output.out;
    EXPECT_LT(origin_.connections() - before, 2000U) << "the upstream leg was not pooled";
    expect_drained();
  }
  EXPECT_EQ(captured_.daemon().metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 12002.0);
}

TEST_F(Ports, SixtyThousandShortFlowsReplay) {
  captured_.replay();
  for (const auto* address : {kOriginV4, kOriginV6}) {
    const auto output = load(captured_.seat(), address, 80, {"--flows", "60000", "--parallel", "64", "--path", "/one"});
    EXPECT_THAT(output.out, HasSubstr("\"ok\":60000")) << address << output.out;
    expect_drained();
  }
}

TEST_F(Ports, SixtyThousandShortFlowsRecordThroughAPooledUpstream) {
  for (const auto* address : {kOriginV4, kOriginV6}) {
    const auto before = origin_.connections();
    const auto output = load(captured_.seat(), address, 80, {"--flows", "60000", "--parallel", "64", "--path", "/one"});
    EXPECT_THAT(output.out, HasSubstr("\"ok\":60000")) << address << output.out;
    EXPECT_LT(origin_.connections() - before, 2000U) << "the upstream leg was not pooled";
    expect_drained();
  }
}

TEST(FewPorts, ARequestWithoutAnUpstreamPortIs502AndCountedAndTheOthersAreServed) {
  Captured captured;
  captured.lab().client().set_sysctl("ipv4.ip_local_port_range", "40000 40019");
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, [released](Peer& peer) {
    if (peer.read_request().empty()) return;
    released.wait();
    peer.stream().send(ok_response("late"));
  });
  Process clients(seated(captured.seat(), {lab_peer_binary(), "load", kOriginV4, "80", "--flows", "30", "--parallel",
                                           "30", "--path", "/"}));
  const auto& daemon = captured.daemon();
  const auto refused = [&] { return daemon.metric("tapdeck_limit_hits_total", {"limit=\"upstream_ports\""}); };
  EXPECT_TRUE(eventually(20s, [&] { return origin.requests() == 20 && refused() == 10; }))
      << origin.requests() << " and " << refused();
  release.set_value();
  EXPECT_TRUE(clients.wait(20s));
  EXPECT_THAT(clients.out(), HasSubstr("\"ok\":20,\"failed\":10,")) << clients.out();
  EXPECT_THAT(clients.out(), HasSubstr("\"errors\":{\"502\":10}")) << clients.out();
}

TEST(FewDescriptors, AcceptingPausesIsCountedAndGoesOn) {
  Captured captured(CaptureBy::Interface);
  auto& daemon = captured.daemon();
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("served")}}));
  const auto few = std::to_string(static_cast<int>(daemon.metric("process_open_fds")) + 20);
  const auto limited = run_to_end({"prlimit", "--pid", std::to_string(daemon.pid()), "--nofile=" + few + ":" + few});
  ASSERT_EQ(limited.status, 0) << limited.err;
  {
    std::vector<Stream> clients;
    for (int i = 0; i < 60; ++i) clients.push_back(captured.connect(kOriginV4, 80));
    EXPECT_TRUE(eventually(10s, [&] { return daemon.log().find("accept.descriptors") != std::string::npos; }));
  }
  EXPECT_TRUE(eventually(10s, [&] { return daemon.metric("tapdeck_active_connections") == 0; }));
  EXPECT_GE(daemon.metric("tapdeck_limit_hits_total", {"limit=\"descriptors\""}), 1.0);
  const auto output = raw_tcp(captured.seat(), kOriginV4, 80, get_request("/"));
  EXPECT_EQ(parse_raw(output.out).body, "served") << output.err;
}

}  // namespace
}  // namespace tapdeck::lab
