// Ports are finite: with 2,000 ephemeral ports in the client's namespace, only listeners spread over addresses and
// ports carry 6,000 flows at once and 60,000 short ones, and in record only a pooled upstream does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  const auto output = load(captured_.seat(), kOriginV4, 80, {"--flows", "60000", "--parallel", "64", "--path", "/one"});
  EXPECT_THAT(output.out, HasSubstr("\"ok\":60000")) << output.out;
  expect_drained();
}

TEST_F(Ports, SixtyThousandShortFlowsRecordThroughAPooledUpstream) {
  const auto before = origin_.connections();
  const auto output = load(captured_.seat(), kOriginV4, 80, {"--flows", "60000", "--parallel", "64", "--path", "/one"});
  EXPECT_THAT(output.out, HasSubstr("\"ok\":60000")) << output.out;
  EXPECT_LT(origin_.connections() - before, 2000U) << "the upstream leg was not pooled";
  expect_drained();
}

}  // namespace
}  // namespace tapdeck::lab
