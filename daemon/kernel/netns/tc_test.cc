// The tc path against the real kernel.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/kernel/netns/tc_rig.h"
#include "daemon/kernel/run_directory.h"

namespace tapdeck::kernel {
namespace {

TEST_F(TcCapture, IPv4FlowArrivesWithItsDestination) {
  attach(kOpen);
  expect_captured("198.18.2.2:443", "198.18.1.2");
  EXPECT_EQ(target_stats().captured, 1U);
}

TEST_F(TcCapture, IPv6FlowArrivesWithItsDestination) {
  attach(kOpen);
  expect_captured("[fd00:2::2]:443", "fd00:1::2");
}

TEST_F(TcCapture, DestinationNobodyRoutesToIsCapturedAllTheSame) {
  lab::sh("ip route add 203.0.113.0/24 via 198.18.2.2");
  attach(kSealed);
  expect_captured("203.0.113.9:80", "198.18.1.2");
}

TEST_F(TcCapture, ExpiredLeaseLetsOpenTargetsReachTheOrigin) {
  options_.lease = CaptureOptions{}.lease;
  attach(kOpen);
  const auto origin = origin_listener("198.18.2.2:18080");
  EXPECT_TRUE(eventually(std::chrono::seconds(2), [&] {
    Client client("", client_.fd(), connects({.to = ep("198.18.2.2:18080")}));
    (void)client.report();
    return lab::accepts_within(origin, 10);
  }));
  EXPECT_GE(uncaptured(Uncaptured::Lease), 1U);
}

TEST_F(TcCapture, ExpiredLeaseDropsSynsOfClosedTargets) {
  options_.lease = std::chrono::milliseconds(1);
  attach(kClosed);
  const auto origin = origin_listener("198.18.2.2:18080");
  ASSERT_TRUE(eventually([&] {  // refused by dropping: the client sees nothing
    Client client("", client_.fd(), [](Report& report) {
      sockaddr_storage raw{};
      const socklen_t length = Endpoint::parse("198.18.2.2:18080")->to_sockaddr(raw);
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      report.error = ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == 0 ? 0 : errno;
    });
    (void)client.report();
    return target_stats().refused_lease > 0;
  }));
  EXPECT_FALSE(lab::accepts_within(origin, 0));
}

TEST_F(TcCapture, ListenersThatAreGoneLetOpenTargetsPass) {
  attach(kOpen);
  const auto origin = origin_listener("198.18.2.2:18080");
  for (uint64_t id = 0; id < 64; ++id) sink_.remove_listener(id);  // as when the daemon died
  Client client("", client_.fd(), connects({.to = ep("198.18.2.2:18080")}));
  EXPECT_EQ(client.report().error, 0);
  EXPECT_TRUE(lab::accepts_within(origin, 1000));
  EXPECT_EQ(uncaptured(Uncaptured::NoListener), 1U);
}

TEST_F(TcCapture, InboundConnectionsAreNotTouched) {
  attach(kSealed);
  UniqueFd service;
  const auto home = open_own_netns();
  ASSERT_TRUE(NetnsScope::run(client_.fd(), home->get(), [&]() -> Result<void> {
    service = lab::listen_on(ep("198.18.1.2:18080"));
    return {};
  }));
  Client forwarded("", origin_.fd(), connects({.to = ep("198.18.1.2:18080")}));
  EXPECT_EQ(forwarded.report().error, 0);
  EXPECT_TRUE(lab::accepts_within(service, 1000));
  Client from_gateway("", -1, connects({.to = ep("198.18.1.2:18080")}));
  EXPECT_EQ(from_gateway.report().error, 0);
  EXPECT_TRUE(lab::accepts_within(service, 1000));
  EXPECT_EQ(target_stats().captured, 0U);
}

// Two a peer and family: the kernel says no more than that at once.
TEST_F(TcCapture, QuicIsRefusedAtOnce) {
  attach(kOpen);
  for (const char* to : {"198.18.2.2:443", "198.18.2.9:443", "[fd00:2::2]:443"}) {
    Client client("", client_.fd(), lab::asks_udp(ep(to)));
    EXPECT_EQ(client.report().error, to[0] == '[' ? EACCES : EHOSTUNREACH) << to;
  }
}

TEST_F(TcCapture, QuicReachesNoServiceOfThisHost) {
  UniqueFd service(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));  // any address of both families
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(443);
  ASSERT_EQ(::bind(service.get(), reinterpret_cast<sockaddr*>(&any), sizeof any), 0);
  for (const TargetPolicy policy : {kOpen, kSealed}) {
    attach(policy);
    for (const char* to : {"198.18.2.2:443", "198.18.1.1:443", "[fd00:2::2]:443", "[fd00:1::1]:443"}) {
      Client client("", client_.fd(), lab::sends_udp(ep(to), lab::Connected::No));
      EXPECT_EQ(client.report().error, 0) << to;
    }
    EXPECT_TRUE(eventually([&] { return uncaptured(Uncaptured::Quic) == 4; }));
    char byte = 0;
    EXPECT_EQ(::recv(service.get(), &byte, 1, MSG_DONTWAIT), -1);
    capture_.reset();
  }
}

TEST_F(TcCapture, ExpiredLeaseLetsQuicOfOpenTargetsReachTheOrigin) {
  options_.lease = std::chrono::milliseconds(1);
  attach(kOpen);
  UniqueFd origin;
  const auto home = open_own_netns();
  ASSERT_TRUE(NetnsScope::run(origin_.fd(), home->get(), [&]() -> Result<void> {
    origin = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage raw{};
    const socklen_t length = ep("198.18.2.2:443").to_sockaddr(raw);
    return ::bind(origin.get(), reinterpret_cast<sockaddr*>(&raw), length) == 0 ? Result<void>()
                                                                                : fail_errno(errno, "");
  }));
  EXPECT_TRUE(eventually([&] {
    Client client("", client_.fd(), lab::sends_udp(ep("198.18.2.2:443"), lab::Connected::No));
    (void)client.report();
    char byte = 0;
    return ::recv(origin.get(), &byte, 1, 0) >= 0;
  }));
  EXPECT_GE(uncaptured(Uncaptured::Lease), 1U);
}

TEST_F(TcCapture, DatagramsAreCounted) {
  attach(kOpen);
  for (const char* to : {"198.18.2.2:443", "198.18.2.2:53", "[fd00:2::2]:9999"}) {
    Client client("", client_.fd(), lab::sends_udp(ep(to), lab::Connected::No));
    EXPECT_EQ(client.report().error, 0) << to;
  }
  EXPECT_TRUE(eventually([&] { return uncaptured(Uncaptured::Udp) == 1; }));
  EXPECT_EQ(uncaptured(Uncaptured::Quic), 1U);
  EXPECT_EQ(uncaptured(Uncaptured::Dns), 1U);
  EXPECT_EQ(target_stats().refused_sealed, 0U);
}

TEST_F(TcCapture, DestructorLeavesNoFilterQdiscRuleOrRoute) {
  attach(kOpen);
  EXPECT_NE(lab::output_of("tc filter show dev c0 ingress"), "");
  EXPECT_NE(lab::output_of("ip rule | grep 31401; ip -6 rule | grep 31401"), "");
  EXPECT_NE(lab::output_of("ip rule | grep prohibit; ip -6 rule | grep prohibit"), "");
  capture_.reset();
  EXPECT_EQ(lab::output_of("ip rule | grep prohibit; ip -6 rule | grep prohibit"), "");
  EXPECT_EQ(lab::output_of("tc qdisc show dev c0 | grep clsact"), "");
  EXPECT_EQ(lab::output_of("ip rule | grep 31401; ip -6 rule | grep 31401"), "");
  EXPECT_EQ(lab::output_of("ip route show table 31401 2>/dev/null; ip -6 route show table 31401 2>/dev/null"), "");
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
}

TEST_F(TcCapture, KilledOwnerLeavesWhatCleanLeftoversRemoves) {
  const auto origin = origin_listener("198.18.2.2:18080");
  Client owner("", -1, [&](Report& report) {
    auto made = Capture::create(options_, sink_);
    report.error = made && (*made)->attach_interface(kSlot, "c0", kOpen) ? 0 : EIO;
    if (made) (*made)->renew_lease();
    if (made) (void)made->release();
  });
  ASSERT_EQ(owner.report().error, 0);
  owner.kill_and_wait();
  EXPECT_NE(lab::output_of("tc filter show dev c0 ingress"), "");
  Client passes("", client_.fd(), connects({.to = ep("198.18.2.2:18080")}));
  EXPECT_EQ(passes.report().error, 0) << "open: its listeners died with it";
  EXPECT_TRUE(lab::accepts_within(origin, 1000));
  ASSERT_TRUE(clean_leftovers(directory_.path()));
  EXPECT_EQ(lab::output_of("tc qdisc show dev c0 | grep clsact"), "");
  EXPECT_EQ(lab::output_of("ip rule | grep 31401; ip -6 rule | grep 31401"), "");
}

TEST_F(TcCapture, WhatIsWrittenDownSaysWhetherItWouldRefuse) {
  const auto aftermath = [&] { return aftermath_of_the_dead(directory_.path()); };
  attach(kOpen);
  EXPECT_EQ(aftermath(), Aftermath::None);
  ASSERT_TRUE(capture_->set_policy(kSlot, kSealed));
  EXPECT_EQ(aftermath(), Aftermath::Stands);
  lab::sh("tc filter del dev c0 ingress");
  ASSERT_TRUE(eventually([&] { return target_stats().gaps == 1; }));
  EXPECT_EQ(aftermath(), Aftermath::Stands) << "it was added again";
  ASSERT_TRUE(capture_->set_policy(kSlot, kOpen));
  EXPECT_EQ(aftermath(), Aftermath::None);
  ASSERT_TRUE(capture_->attach_interface(kSlot, "c0", kClosed));
  EXPECT_EQ(aftermath(), Aftermath::Stands);
}

TEST_F(TcCapture, SuccessorOfAKilledOwnerTakesOverTheQdisc) {
  Client owner("", -1, [&](Report& report) {
    auto made = Capture::create(options_, sink_);
    report.error = made && (*made)->attach_interface(kSlot, "c0", kOpen) ? 0 : EIO;
    if (made) (void)made->release();
  });
  ASSERT_EQ(owner.report().error, 0);
  owner.kill_and_wait();
  attach(kOpen);
  EXPECT_EQ(lab::output_of("tc filter show dev c0 ingress | grep -c handle"), "1\n") << "the predecessor's is gone";
  capture_.reset();
  EXPECT_EQ(lab::output_of("tc qdisc show dev c0 | grep clsact"), "");
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
}

TEST_F(TcCapture, InterfaceThatComesBackIsAttachedAgain) {
  attach(kOpen);
  lab::sh("ip link del c0");
  ASSERT_TRUE(eventually([&] { return sink_.gone() == 1; }));
  connect_namespace(client_, "c", "198.18.1", "fd00:1:");
  ASSERT_TRUE(eventually([&] { return sink_.back() == 1; }));
  capture_->renew_lease();
  expect_captured("198.18.2.2:443", "198.18.1.2");
}

TEST_F(TcCapture, ClsactStaysAsLongAsSomeoneElsesFilterUsesIt) {
  attach(kOpen);
  lab::sh("tc filter add dev c0 ingress priority 200 protocol ip u32 match u32 0 0 classid 1:1");
  expect_captured("198.18.2.2:443", "198.18.1.2");
  capture_.reset();
  EXPECT_NE(lab::output_of("tc filter show dev c0 ingress | grep u32"), "");
}

TEST_F(TcCapture, UnknownInterfaceAndLoopbackAreRefused) {
  attach(kOpen);
  EXPECT_EQ(capture_->attach_interface(3, "nosuch0", kOpen).error().code, Code::NotFound);
  EXPECT_EQ(capture_->attach_interface(3, "lo", kOpen).error().code, Code::Unsupported);
  EXPECT_EQ(capture_->attach_interface(3, "name-that-is-far-too-long", kOpen).error().code, Code::InvalidArgument);
}

}  // namespace
}  // namespace tapdeck::kernel
