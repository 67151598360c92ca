#include "daemon/kernel/listener_plan.h"

#include <gtest/gtest.h>

#include <set>

namespace tapdeck::kernel {
namespace {

TEST(ListenerPlan, DefaultRangeNeedsThreeAndTwoThousandPortsNeedForty) {
  EXPECT_EQ(listeners_wanted({32768, 60999}, 1, 64), 3U);
  EXPECT_EQ(listeners_wanted({32768, 60999}, 2, 64), 4U) << "the same share for each worker";
  EXPECT_EQ(listeners_wanted({40000, 41999}, 2, 64), 40U);
}

TEST(ListenerPlan, LimitWinsAndOneIsTheLeast) {
  EXPECT_EQ(listeners_wanted({40000, 40099}, 2, 64), 64U);
  EXPECT_EQ(listeners_wanted({1, 65535}, 1, 64), 2U);
  EXPECT_EQ(listeners_wanted({1024, 65535}, 0, 1), 1U);
}

TEST(ListenerPlan, PortsStayOutsideTheEphemeralRangeWhereThereIsRoom) {
  for (const PortRange range : {PortRange{32768, 60999}, PortRange{1024, 60000}, PortRange{10000, 65535}}) {
    const auto ports = candidate_ports(range, 12345);
    ASSERT_GE(ports.size(), 128U);
    EXPECT_EQ(std::set<uint16_t>(ports.begin(), ports.end()).size(), ports.size()) << "each once";
    for (const uint16_t port : ports) EXPECT_TRUE(port < range.low || port > range.high) << port;
  }
}

TEST(ListenerPlan, NoRoomAtAllStillGivesPorts) {
  EXPECT_FALSE(candidate_ports({1024, 65535}, 7).empty());
}

TEST(ListenerPlan, AddressesDiffer) {
  std::set<std::string> seen;
  for (unsigned i = 0; i < 600; ++i) seen.insert(listener_address4(i, 61000).to_string());
  EXPECT_EQ(seen.size(), 600U);
  EXPECT_EQ(listener_address4(0, 61000).to_string(), "127.84.0.1:61000");
  EXPECT_EQ(listener_address6(61000).to_string(), "[::1]:61000");
}

}  // namespace
}  // namespace tapdeck::kernel
