// The cgroup path against the real kernel: what arrives, and what is left alone.
#include "daemon/kernel/capture.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "daemon/kernel/netns/capture_rig.h"

namespace tapdeck::kernel {
namespace {

TEST_F(CgroupCapture, IPv4ConnectArrivesWithDestinationAndIdentity) {
  attach(kOpen);
  expect_captured({.to = ep("192.0.2.10:443")});
  EXPECT_EQ(target_stats().captured, 1U);
  EXPECT_EQ(capture_->stats().flow_map_entries, 0U) << "resolve consumes the entry";
}

TEST_F(CgroupCapture, IPv6ConnectArrives) {
  attach(kOpen);
  expect_captured({.to = ep("[2001:db8::10]:443")});
}

TEST_F(CgroupCapture, V4MappedConnectArrivesAsIPv4) {
  attach(kOpen);
  expect_captured({.to = ep("192.0.2.10:8080"), .as_family = AF_INET6});
}

TEST_F(CgroupCapture, V6OnlySocketArrives) {
  attach(kOpen);
  expect_captured({.to = ep("[2001:db8::11]:80"), .only6 = lab::Only6::Yes});
}

TEST_F(CgroupCapture, GetsocknameShowsTheNamespacesAddressInsteadOfLoopback) {
  lab::sh("ip addr add 198.18.0.7/24 dev lo && ip -6 addr add fd00:7::7/64 dev lo nodad");
  lab::sh("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
  lab::sh("ip addr add 198.18.1.7/24 dev up0 && ip -6 addr add fd00:8::7/64 dev up0 nodad");
  attach(kOpen);
  Client four(cgroup_.path(), -1, connects({.to = ep("192.0.2.10:443")}));
  const auto first = sink_.accept();
  EXPECT_EQ(four.report().local.ip(), "198.18.1.7");
  Client six(cgroup_.path(), -1, connects({.to = ep("[2001:db8::10]:443")}));
  const auto second = sink_.accept();
  EXPECT_EQ(six.report().local.ip(), "fd00:8::7");
}

TEST_F(CgroupCapture, SameSourcePortFromTwoNamespacesAtOnceStaysApart) {
  lab::SideNetns other;
  Client there(cgroup_.path(), other.fd(), [](Report&) {});
  (void)there.report();
  attach(kOpen);
  Client a(cgroup_.path(), -1, connects({.to = ep("192.0.2.1:443"), .from_port = 23456}));
  Client b(cgroup_.path(), other.fd(), connects({.to = ep("192.0.2.2:443"), .from_port = 23456}));
  std::set<std::string> destinations;
  std::set<uint64_t> cookies;
  std::set<uint32_t> pids;
  for (int i = 0; i < 2; ++i) {
    const auto accepted = sink_.accept();
    ASSERT_TRUE(accepted.fd);
    EXPECT_EQ(accepted.client.port, 23456);
    const auto flow = capture_->resolve(accepted.key, accepted.client, accepted.local);
    ASSERT_TRUE(flow);
    destinations.insert(flow->original_destination.to_string());
    cookies.insert(flow->identity.netns_cookie);
    pids.insert(flow->identity.pid);
  }
  EXPECT_EQ(destinations, (std::set<std::string>{"192.0.2.1:443", "192.0.2.2:443"}));
  EXPECT_EQ(cookies.size(), 2U);
  EXPECT_EQ(pids, (std::set<uint32_t>{static_cast<uint32_t>(a.report().pid), static_cast<uint32_t>(b.report().pid)}));
}

TEST_F(CgroupCapture, UpstreamSocketLivesInTheClientsNamespaceAndIsMarked) {
  lab::SideNetns other;
  attach(kOpen);
  ASSERT_TRUE(capture_->prepare_netns(kSlot, other.fd()));
  Client client(cgroup_.path(), other.fd(), connects({.to = ep("192.0.2.1:443")}));
  const auto accepted = sink_.accept();
  ASSERT_TRUE(accepted.fd);
  const auto flow = capture_->resolve(accepted.key, accepted.client, accepted.local);
  ASSERT_TRUE(flow);
  const auto upstream = capture_->upstream_socket(flow->identity.netns_cookie, AF_INET6);
  ASSERT_TRUE(upstream) << upstream.error().message();
  uint64_t cookie = 0;
  uint32_t mark = 0;
  socklen_t length = sizeof(cookie);
  ASSERT_EQ(::getsockopt(upstream->get(), SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, &cookie, &length), 0);
  length = sizeof(mark);
  ASSERT_EQ(::getsockopt(upstream->get(), SOL_SOCKET, SO_MARK, &mark, &length), 0);
  EXPECT_EQ(cookie, flow->identity.netns_cookie);
  EXPECT_NE(cookie, netns_cookie().value_or(0));
  EXPECT_EQ(mark, options_.mark);
  EXPECT_EQ(capture_->upstream_socket(12345678, AF_INET).error().code, Code::NotFound);
}

TEST_F(CgroupCapture, ConnectionNobodyCapturedIsUnknown) {
  attach(kOpen);
  const auto addresses = sink_.addresses();
  ASSERT_FALSE(addresses.empty());
  Client stranger("", -1, connects({.to = addresses.front()}));  // outside the cgroup
  const auto accepted = sink_.accept();
  ASSERT_TRUE(accepted.fd);
  const auto flow = capture_->resolve(accepted.key, accepted.client, accepted.local);
  ASSERT_FALSE(flow);
  EXPECT_EQ(flow.error().code, Code::NotFound);
  EXPECT_EQ(capture_->stats().unknown_flows, 1U);
}

TEST_F(CgroupCapture, OwnListenersAreNeverDestinationsOfATarget) {
  attach(kOpen);
  for (const auto& address : sink_.addresses()) {
    Client client(cgroup_.path(), -1, connects({.to = address}));
    EXPECT_EQ(client.report().error, ECONNREFUSED) << address.to_string();
  }
  EXPECT_EQ(target_stats().refused_loop, sink_.addresses().size());
}

TEST_F(CgroupCapture, ServicesOnLoopbackAreLeftAlone) {
  attach(kSealed);
  for (const char* address : {"127.0.0.1:18080", "[::1]:18080"}) {
    const auto service = lab::listen_on(ep(address));
    Client client(cgroup_.path(), -1, connects({.to = ep(address)}));
    EXPECT_EQ(client.report().error, 0) << address;
    EXPECT_TRUE(lab::accepts_within(service, 1000)) << address;
  }
  EXPECT_EQ(target_stats().captured, 0U);
}

TEST_F(CgroupCapture, OwnMarkPassesUntouched) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  attach(kOpen);
  const auto service = lab::listen_on(ep("198.18.0.1:18080"));
  const uint32_t mark = options_.mark;
  Client client(cgroup_.path(), -1, [mark](Report& report) {
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("198.18.0.1:18080")->to_sockaddr(raw);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
    if (::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0) report.error = errno;
  });
  EXPECT_EQ(client.report().error, 0);
  EXPECT_TRUE(lab::accepts_within(service, 1000));
  EXPECT_EQ(target_stats().captured, 0U);
}

TEST_F(CgroupCapture, ManyFlowsToOneDestinationSpreadOverListeners) {
  lab::sh("sysctl -qw net.ipv4.ip_local_port_range='40000 40099'");
  options_.flow_map_entries = 4096;  // nobody accepts here
  attach(kOpen);
  constexpr int kFlows = 1500;  // fifteen times the ephemeral ports
  Client client(cgroup_.path(), -1, [](Report& report) {
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("192.0.2.10:443")->to_sockaddr(raw);
    for (; report.count < kFlows; ++report.count) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == 0) continue;
      report.error = errno;
      return;
    }
  });
  const Report report = client.report();
  EXPECT_EQ(report.count, kFlows) << std::strerror(report.error);
  EXPECT_EQ(uncaptured(Uncaptured::MapFull), static_cast<uint64_t>(0));
}

TEST_F(CgroupCapture, RefusedConnectLeavesNoEntry) {
  attach(kOpen);
  const auto before = capture_->stats().flow_map_entries;
  for (int i = 0; i < 64; ++i) {  // close every listener behind Capture's back: the kernel answers with RST
    sink_.remove_listener(static_cast<uint64_t>(i));
  }
  Client client(cgroup_.path(), -1, connects({.to = ep("192.0.2.10:443")}));
  EXPECT_EQ(client.report().error, ECONNREFUSED);
  EXPECT_EQ(capture_->stats().flow_map_entries, before);
}

// To an origin, then, without a new socket, to a service of the host.
TEST_F(CgroupCapture, ASocketUsedAgainForLoopbackLeavesNoEntryAndShowsItsOwnName) {
  attach(kOpen);
  Client client(cgroup_.path(), -1, [](Report& report) {
    const UniqueFd service = lab::listen_on(ep("127.0.0.1:18080"));
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto connect_to = [&fd](const char* to) {
      sockaddr_storage raw{};
      const socklen_t length = ep(to).to_sockaddr(raw);
      return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&raw), length) == 0 ? 0 : errno;
    };
    report.error = connect_to("192.0.2.10:443");
    const sockaddr nowhere{AF_UNSPEC, {}};
    if (report.error == 0 && ::connect(fd.get(), &nowhere, sizeof(nowhere)) != 0) report.error = errno;
    if (report.error == 0) report.error = connect_to("127.0.0.1:18080");
    sockaddr_storage raw{};
    socklen_t length = sizeof(raw);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&raw), &length);
    report.local = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&raw));
  });
  const Report report = client.report();
  ASSERT_EQ(report.error, 0) << std::strerror(report.error);
  EXPECT_EQ(report.local.ip(), "127.0.0.1");
  EXPECT_EQ(capture_->stats().flow_map_entries, 1U) << "of the first, which waits; a second would wait for ever";
}

TEST_F(CgroupCapture, TargetInsideATargetWins) {
  attach(kOpen);
  const std::string inner = cgroup_.path() + "/inner";
  lab::sh("mkdir " + inner);
  ASSERT_TRUE(capture_->attach_cgroup(kSlot + 1, inner, kOpen));
  ASSERT_TRUE(capture_->prepare_netns(kSlot + 1, -1));
  {
    Client client(inner, -1, connects({.to = ep("192.0.2.10:443")}));
    const auto accepted = sink_.accept();
    ASSERT_TRUE(accepted.fd);
    const auto flow = capture_->resolve(accepted.key, accepted.client, accepted.local);
    ASSERT_TRUE(flow) << flow.error().message();
    EXPECT_EQ(flow->identity.target, kSlot + 1);
    EXPECT_EQ(flow->original_destination, ep("192.0.2.10:443"));
    EXPECT_EQ(client.report().peer, ep("192.0.2.10:443"));
  }
  EXPECT_EQ(target_stats().refused_loop, 0U);
  EXPECT_EQ(capture_->stats().flow_map_entries, 0U);
  EXPECT_TRUE(eventually([&] { return ::rmdir(inner.c_str()) == 0; }));
}

}  // namespace
}  // namespace tapdeck::kernel
