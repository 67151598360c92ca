// Interfaces that change under the tc path: ports of bridges, new names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "daemon/kernel/netns/tc_rig.h"

namespace tapdeck::kernel {
namespace {

// Both sysctls are the namespace's own.
class TcOnABridge : public TcCapture {
 protected:
  void SetUp() override {
    TcCapture::SetUp();
    if (IsSkipped()) return;
    if (::access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) != 0) GTEST_SKIP() << "NOT RUN: no br_netfilter";
    lab::sh("ip link add br0 type bridge && ip link set br0 up");
    netfilter(1, 0);
  }
  static void netfilter(int four, int six) {
    lab::sh("sysctl -qw net.bridge.bridge-nf-call-iptables=" + std::to_string(four) +
            " net.bridge.bridge-nf-call-ip6tables=" + std::to_string(six));
  }
  static void make_port() {
    lab::sh("ip link set c0 master br0 && ip addr flush dev c0 && ip addr add 198.18.1.1/24 dev br0");
  }
  Result<void> attach_to(const std::string& interface) {
    auto made = Capture::create(options_, sink_);
    if (!made) return std::unexpected(made.error());
    capture_ = std::move(*made);
    capture_->renew_lease();
    return capture_->attach_interface(kSlot, interface, kOpen);
  }
};

TEST_F(TcOnABridge, PortIsRefusedWhileNetfilterSeesBridgedPacketsAndTheBridgeIsNot) {
  make_port();
  for (const auto& [four, six] : {std::pair{1, 0}, {0, 1}, {1, 1}}) {
    netfilter(four, six);
    const auto refused = attach_to("c0");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::Unsupported);
    EXPECT_THAT(refused.error().message(), testing::HasSubstr("--interface br0"));
    EXPECT_EQ(lab::output_of("tc qdisc show dev c0 | grep clsact"), "");
  }
  ASSERT_TRUE(attach_to("br0"));
  expect_captured("198.18.2.2:443", "198.18.1.2");
}

TEST_F(TcOnABridge, PortIsRefusedByTheSwitchOfItsBridgeToo) {
  make_port();
  netfilter(0, 0);
  lab::sh("ip link set br0 type bridge nf_call_iptables 1");
  EXPECT_FALSE(attach_to("c0"));
}

TEST_F(TcOnABridge, PortIsCapturedWhereNetfilterDoesNotSeeBridgedPackets) {
  make_port();
  netfilter(0, 0);
  ASSERT_TRUE(attach_to("c0"));
  expect_captured("198.18.2.2:443", "198.18.1.2");
}

TEST_F(TcOnABridge, InterfaceThatBecomesAPortIsLetGoUntilItIsNoneAnyMore) {
  attach(kOpen);
  lab::sh("ip link set c0 master br0");
  ASSERT_TRUE(eventually([&] { return sink_.gone() == 1; }));
  EXPECT_EQ(lab::output_of("tc qdisc show dev c0 | grep clsact"), "");
  EXPECT_FALSE(target_stats().attached);
  lab::sh("ip link set c0 nomaster");
  ASSERT_TRUE(eventually([&] { return sink_.back() == 1; }));
  expect_captured("198.18.2.2:443", "198.18.1.2");
}

TEST_F(TcOnABridge, InterfaceThatComesBackAsAPortIsNotAttachedAgain) {
  attach(kOpen);
  lab::sh("ip link add s0 type veth peer name s1");
  ASSERT_TRUE(capture_->attach_interface(kSlot + 1, "s0", kOpen));
  lab::sh("ip link del c0");
  ASSERT_TRUE(eventually([&] { return sink_.gone() == 1; }));
  lab::sh("ip link add made0 type veth peer name made1 && ip link set made0 master br0 && ip link set made0 name c0");
  lab::sh("ip link del s0");  // looked at in the same round as c0, after it
  ASSERT_TRUE(eventually([&] { return sink_.gone() == 2; }));
  EXPECT_EQ(sink_.back(), 0);
  EXPECT_EQ(lab::output_of("tc qdisc show dev c0 | grep clsact"), "");
}

class TcRenamed : public TcCapture {
 protected:
  void rename_and_wait() {
    lab::sh("ip link add s0 type veth peer name s1");
    ASSERT_TRUE(capture_->attach_interface(kSlot + 1, "s0", kOpen));
    lab::sh("ip link set c0 down && ip link set c0 name z0 && ip link set z0 up");
    lab::sh("ip link del s0");  // looked at in the same round as c0, after it
    ASSERT_TRUE(eventually([&] { return sink_.gone() == 1; }));
  }
};

TEST_F(TcRenamed, InterfaceStaysCapturedAndIsReleasedInTheEnd) {
  attach(kOpen);
  rename_and_wait();
  expect_captured("198.18.2.2:443", "198.18.1.2");
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_EQ(lab::output_of("tc qdisc show dev z0 | grep clsact"), "");
}

TEST_F(TcRenamed, FilterOfAClosedTargetIsRemovedByClean) {
  attach(kClosed);
  rename_and_wait();
  capture_->keep_closed();
  capture_.reset();
  EXPECT_NE(lab::output_of("tc filter show dev z0 ingress"), "");
  ASSERT_TRUE(clean_leftovers(directory_.path()));
  EXPECT_EQ(lab::output_of("tc qdisc show dev z0 | grep clsact"), "");
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
}

// A capture of another run directory, as of another daemon.
class TwoTcCaptures : public TcCapture {
 protected:
  void SetUp() override {
    TcCapture::SetUp();
    if (IsSkipped()) return;
    attach(kOpen);
    options_.run_dir = other_directory_.path();
    auto made = Capture::create(options_, other_sink_);
    ASSERT_TRUE(made) << made.error().message();
    other_ = std::move(*made);
  }
  TestDirectory other_directory_;
  lab::Sink other_sink_;
  std::unique_ptr<Capture> other_;
};

TEST_F(TwoTcCaptures, OfOneInterfaceOnlyTheFirstIsAttachedAndTheSecondSaysWhoHasIt) {
  const auto second = other_->attach_interface(kSlot, "c0", kSealed);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::Busy);
  EXPECT_THAT(second.error().detail, testing::HasSubstr("pid " + std::to_string(::getpid()) + " "));
  expect_captured("198.18.2.2:443", "198.18.1.2");
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_TRUE(other_->attach_interface(kSlot, "c0", kSealed));
}

TEST_F(TwoTcCaptures, RoutingRulesGoWithTheLastOfThem) {
  ASSERT_TRUE(other_->attach_interface(kSlot, "o0", kOpen));
  const std::string rules = lab::output_of("ip rule; ip -6 rule");
  other_.reset();
  EXPECT_EQ(lab::output_of("ip rule; ip -6 rule"), rules);
  expect_captured("198.18.2.2:443", "198.18.1.2");
  capture_.reset();
  EXPECT_EQ(lab::output_of("ip rule | grep -c '^90:'"), "0\n");
}

TEST_F(TwoTcCaptures, RulesWithAnotherMarkGoWithTheirOwn) {
  other_.reset();
  options_.mark += 2;
  options_.route_table += 1;
  other_ = std::move(*Capture::create(options_, other_sink_));
  ASSERT_TRUE(other_->attach_interface(kSlot, "o0", kOpen));
  EXPECT_EQ(lab::output_of("ip rule | grep -c '^90:'"), "4\n");
  other_.reset();
  EXPECT_EQ(lab::output_of("ip rule | grep -c '^90:'"), "2\n");
  expect_captured("198.18.2.2:443", "198.18.1.2");
}

}  // namespace
}  // namespace tapdeck::kernel
