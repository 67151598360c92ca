// What happens to flows that cannot be captured: open, closed and sealed targets, with and without a lease.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "daemon/kernel/netns/capture_rig.h"

namespace tapdeck::kernel {
namespace {

TEST_F(CgroupCapture, DeviceBoundSocketIsLeftAloneAndRefusedWhenSealed) {
  lab::sh("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
  lab::sh("ip addr add 198.18.1.7/24 dev up0");
  attach(kOpen);
  const auto service = lab::listen_on(ep("198.18.1.7:18080"));
  Client open(cgroup_.path(), -1, connects({.to = ep("198.18.1.99:18080"), .device = "up0"}));
  EXPECT_NE(open.report().error, 0) << "nobody is there, and it was not captured";
  EXPECT_EQ(uncaptured(Uncaptured::BoundDevice), 1U);
  ASSERT_TRUE(capture_->set_policy(kSlot, kSealed));
  Client sealed(cgroup_.path(), -1, connects({.to = ep("198.18.1.99:18080"), .device = "up0"}));
  EXPECT_EQ(sealed.report().error, ECONNREFUSED);
  EXPECT_EQ(target_stats().refused_sealed, 1U);
}

TEST_F(CgroupCapture, ExpiredLeaseLetsOpenTargetsPassWithinTwoSeconds) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  options_.lease = CaptureOptions{}.lease;
  attach(kOpen);
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  EXPECT_TRUE(eventually(std::chrono::seconds(2), [&] {  // nobody renews any more
    Client client(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
    (void)client.report();
    return lab::accepts_within(origin, 10);
  }));
  EXPECT_GE(uncaptured(Uncaptured::Lease), 1U);
  EXPECT_EQ(target_stats().refused_lease, 0U);
  capture_->renew_lease();
  EXPECT_GE(capture_->stats().lease_expirations, 1U);
  const uint64_t before = target_stats().captured;
  Client again(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  (void)again.report();
  EXPECT_EQ(target_stats().captured, before + 1) << "renewal resumes capture";
}

TEST_F(CgroupCapture, ExpiredLeaseLetsQuicOfOpenTargetsPassToo) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  options_.lease = std::chrono::milliseconds(100);
  attach(kOpen);
  for (const lab::Connected connected : {lab::Connected::No, lab::Connected::Yes}) {
    EXPECT_TRUE(eventually(std::chrono::seconds(5), [&] {
      Client quic(cgroup_.path(), -1, lab::sends_udp(ep("198.18.0.1:443"), connected));
      return quic.report().error == 0;
    }));
  }
  Client asks(cgroup_.path(), -1, lab::asks_udp(ep("198.18.0.1:443")));
  EXPECT_EQ(asks.report().error, ECONNREFUSED) << "by the host, on which nobody listens";
  EXPECT_GE(uncaptured(Uncaptured::Lease), 1U);
  ASSERT_TRUE(capture_->set_policy(kSlot, kClosed));
  Client closed(cgroup_.path(), -1, lab::sends_udp(ep("198.18.0.1:443"), lab::Connected::No));
  EXPECT_EQ(closed.report().error, ECONNREFUSED);
}

TEST_F(CgroupCapture, ExpiredLeaseRefusesClosedTargetsWithinTwoSeconds) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  options_.lease = CaptureOptions{}.lease;
  attach(kClosed);
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  EXPECT_TRUE(eventually(std::chrono::seconds(2), [&] {
    Client client(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
    return client.report().error == ECONNREFUSED;
  }));
  EXPECT_GE(target_stats().refused_lease, 1U);
  EXPECT_FALSE(lab::accepts_within(origin, 0));
}

// As `unshare -n` makes it. A listener there can be bound, and not be reached.
TEST_F(CgroupCapture, ANamespaceWhoseLoopbackIsDownIsCountedAndThePolicyHolds) {
  lab::sh("ip link set lo down");
  attach(kClosed);
  for (const uint64_t times : {1U, 2U}) {
    Client client(cgroup_.path(), -1, connects({.to = ep("192.0.2.10:443")}));
    EXPECT_EQ(client.report().error, ECONNREFUSED);
    EXPECT_EQ(uncaptured(Uncaptured::NoListener), times);
  }
  lab::sh("ip link set lo up");
  EXPECT_TRUE(eventually([&] {
    Client client(cgroup_.path(), -1, connects({.to = ep("192.0.2.10:443")}));
    return client.report().error == 0;
  }));
}

TEST_F(CgroupCapture, QuicIsRefusedAtOnceAndOtherDatagramsAreCounted) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo && ip -6 addr add fd00:7::7/128 dev lo nodad");
  attach(kOpen);
  for (const char* to : {"198.18.0.1:443", "[fd00:7::7]:443"}) {
    Client client(cgroup_.path(), -1, lab::sends_udp(ep(to), lab::Connected::No));
    EXPECT_EQ(client.report().error, ECONNREFUSED) << to;
    Client connected(cgroup_.path(), -1, lab::asks_udp(ep(to)));
    EXPECT_EQ(connected.report().error, ECONNREFUSED) << to << ", by the kernel, when it has sent";
  }
  for (const char* to : {"198.18.0.1:0", "198.18.0.1:9", "[fd00:7::7]:80", "[fd00:7::7]:65535"}) {
    Client probe(cgroup_.path(), -1, lab::sends_udp(ep(to), lab::Connected::Yes));
    EXPECT_EQ(probe.report().error, 0) << to << ": a resolver that sorts addresses";
  }
  Client udp(cgroup_.path(), -1, lab::sends_udp(ep("198.18.0.1:9999"), lab::Connected::No));
  Client dns(cgroup_.path(), -1, lab::sends_udp(ep("[fd00:7::7]:53"), lab::Connected::Yes));
  EXPECT_EQ(udp.report().error, 0);
  EXPECT_EQ(dns.report().error, 0);
  EXPECT_EQ(uncaptured(Uncaptured::Quic), 2U) << "a connect alone says nothing: resolvers try addresses so";
  EXPECT_EQ(uncaptured(Uncaptured::Udp), 1U);
  EXPECT_EQ(uncaptured(Uncaptured::Dns), 1U);
}

TEST_F(CgroupCapture, SealedTargetLosesEverythingThatIsNotCaptured) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  attach(kSealed);
  Client udp(cgroup_.path(), -1, lab::sends_udp(ep("198.18.0.1:9999"), lab::Connected::No));
  EXPECT_EQ(udp.report().error, ECONNREFUSED);
  Client dns(cgroup_.path(), -1, lab::sends_udp(ep("127.0.0.53:53"), lab::Connected::Yes));
  EXPECT_EQ(dns.report().error, ECONNREFUSED) << "a stub on loopback would carry the question outside";
  Client loopback(cgroup_.path(), -1, lab::sends_udp(ep("127.0.0.1:9999"), lab::Connected::No));
  EXPECT_EQ(loopback.report().error, 0);
  Client raw(cgroup_.path(), -1, [](Report& report) {
    const int fd = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
    report.error = fd < 0 ? errno : 0;
  });
  EXPECT_NE(raw.report().error, 0);
  EXPECT_EQ(target_stats().refused_sealed, 3U);
  EXPECT_EQ(uncaptured(Uncaptured::Raw), 1U);
  expect_captured({.to = ep("192.0.2.10:443")});
  ASSERT_TRUE(eventually([&] { return sink_.refusals().size() == 3; }));
  const Refusal first = sink_.refusals().front();
  EXPECT_EQ(first.destination, ep("198.18.0.1:9999"));
  EXPECT_EQ(first.protocol, IPPROTO_UDP);
  EXPECT_EQ(first.target, kSlot);
}

TEST_F(CgroupCapture, FullFlowMapFollowsThePolicy) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  options_.flow_map_entries = 1;
  attach(kOpen);
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  Client first(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  EXPECT_EQ(first.report().error, 0);
  Client second(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  EXPECT_EQ(second.report().error, 0);
  EXPECT_TRUE(lab::accepts_within(origin, 1000)) << "passed: the target is open";
  EXPECT_EQ(uncaptured(Uncaptured::MapFull), 1U);
  ASSERT_TRUE(capture_->set_policy(kSlot, kClosed));
  Client third(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  EXPECT_EQ(third.report().error, ECONNREFUSED);
  EXPECT_EQ(target_stats().refused_map_full, 1U);
}

}  // namespace
}  // namespace tapdeck::kernel
