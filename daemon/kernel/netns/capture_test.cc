// The cgroup path against the real kernel. Destinations are documentation addresses in a namespace without routes:
// only a rewrite can make a connect to them succeed.
#include "daemon/kernel/capture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "daemon/kernel/netns.h"
#include "daemon/kernel/netns/lab.h"

namespace tapdeck::kernel {
namespace {

using lab::Client;
using lab::connects;
using lab::ep;
using lab::eventually;
using lab::Report;

constexpr uint32_t kSlot = 5;
constexpr TargetPolicy kOpen{OnLease::Open, Sealed::No};
constexpr TargetPolicy kClosed{OnLease::Closed, Sealed::No};
constexpr TargetPolicy kSealed{OnLease::Closed, Sealed::Yes};

class CgroupCapture : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
    options_.run_dir = directory_.path();
    options_.workers = 2;
    options_.flow_map_entries = 1024;
    options_.lease = std::chrono::seconds(60);  // a busy machine must not end it; tests of the lease shorten it
  }

  void start() {
    auto made = Capture::create(options_, sink_);
    ASSERT_TRUE(made) << made.error().message();
    capture_ = std::move(*made);
    capture_->renew_lease();
  }

  // One process stays in the cgroup, so that it does not count as empty between clients.
  void attach(TargetPolicy policy) {
    start();
    ASSERT_NE(capture_, nullptr);
    resident_ = std::make_unique<Client>(cgroup_.path(), -1, [](Report&) {});
    (void)resident_->report();
    const auto attached = capture_->attach_cgroup(kSlot, cgroup_.path(), policy);
    ASSERT_TRUE(attached) << attached.error().message();
  }

  TargetStats target_stats() {
    const Stats stats = capture_->stats();
    for (const auto& one : stats.targets) {
      if (one.target == kSlot) return one;
    }
    return {};
  }
  uint64_t uncaptured(Uncaptured reason) { return target_stats().uncaptured[static_cast<size_t>(reason)]; }

  // A client in the cgroup connects; what the daemon sees of it.
  void expect_captured(const lab::ConnectOptions& options) {
    Client client(cgroup_.path(), -1, connects(options));
    const auto accepted = sink_.accept();
    const Report report = client.report();
    ASSERT_EQ(report.error, 0) << std::strerror(report.error);
    ASSERT_TRUE(accepted.fd);
    const auto flow = capture_->resolve(accepted.key, accepted.client, accepted.local);
    ASSERT_TRUE(flow) << flow.error().message();
    EXPECT_EQ(flow->original_destination, options.to);
    EXPECT_EQ(flow->client, accepted.client);
    EXPECT_EQ(flow->path, CapturePath::Cgroup);
    EXPECT_EQ(flow->identity.target, kSlot);
    EXPECT_EQ(flow->identity.pid, static_cast<uint32_t>(report.pid));
    EXPECT_EQ(flow->identity.uid, 0U);
    EXPECT_FALSE(flow->identity.comm_view().empty());
    EXPECT_NE(flow->identity.cgroup_id, 0U);
    EXPECT_EQ(flow->identity.netns_cookie, netns_cookie().value_or(0));
    EXPECT_EQ(report.peer, options.to) << "getpeername must not show the listener";
  }

  lab::TestDirectory directory_;
  lab::FreshNetns netns_;
  lab::TestCgroup cgroup_;
  lab::Sink sink_;
  CaptureOptions options_;
  std::unique_ptr<Capture> capture_;
  std::unique_ptr<Client> resident_;
};

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

TEST_F(CgroupCapture, ExpiredLeaseLetsOpenTargetsPassWithinTwoSeconds) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  options_.lease = CaptureOptions{}.lease;
  attach(kOpen);
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  EXPECT_TRUE(eventually(
      [&] {  // nobody renews any more
        Client client(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
        (void)client.report();
        return lab::accepts_within(origin, 10);
      },
      2000));
  EXPECT_GE(uncaptured(Uncaptured::Lease), 1U);
  EXPECT_EQ(target_stats().refused_lease, 0U);
  capture_->renew_lease();
  EXPECT_GE(capture_->stats().lease_expirations, 1U);
  const uint64_t before = target_stats().captured;
  Client again(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  (void)again.report();
  EXPECT_EQ(target_stats().captured, before + 1) << "renewal resumes capture";
}

TEST_F(CgroupCapture, ExpiredLeaseRefusesClosedTargetsWithinTwoSeconds) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  options_.lease = CaptureOptions{}.lease;
  attach(kClosed);
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  EXPECT_TRUE(eventually(
      [&] {
        Client client(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
        return client.report().error == ECONNREFUSED;
      },
      2000));
  EXPECT_GE(target_stats().refused_lease, 1U);
  EXPECT_FALSE(lab::accepts_within(origin, 0));
}

TEST_F(CgroupCapture, QuicIsRefusedAtOnceAndOtherDatagramsAreCounted) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo && ip -6 addr add fd00:7::7/128 dev lo nodad");
  attach(kOpen);
  for (const char* to : {"198.18.0.1:443", "[fd00:7::7]:443"}) {
    for (const auto connected : {lab::Connected::No, lab::Connected::Yes}) {
      Client client(cgroup_.path(), -1, lab::sends_udp(ep(to), connected));
      EXPECT_EQ(client.report().error, ECONNREFUSED) << to;
    }
  }
  Client udp(cgroup_.path(), -1, lab::sends_udp(ep("198.18.0.1:9999"), lab::Connected::No));
  Client dns(cgroup_.path(), -1, lab::sends_udp(ep("[fd00:7::7]:53"), lab::Connected::Yes));
  EXPECT_EQ(udp.report().error, 0);
  EXPECT_EQ(dns.report().error, 0);
  EXPECT_EQ(uncaptured(Uncaptured::Quic), 4U);
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

TEST_F(CgroupCapture, NamespaceThatAppearsLaterGetsListeners) {
  attach(kClosed);
  lab::SideNetns late;
  Client client(cgroup_.path(), late.fd(), [](Report& report) {
    for (int i = 0; i < 200; ++i) {  // refused until the daemon has answered the first connect
      Report once;
      connects({.to = *Endpoint::parse("192.0.2.9:443")})(once);
      report.error = once.error;
      report.count = i;
      if (once.error == 0) return;
      const timespec pause{0, 5'000'000};
      ::nanosleep(&pause, nullptr);
    }
  });
  const auto accepted = sink_.accept();
  EXPECT_EQ(client.report().error, 0);
  ASSERT_TRUE(accepted.fd);
  const auto flow = capture_->resolve(accepted.key, accepted.client, accepted.local);
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->original_destination, ep("192.0.2.9:443"));
  EXPECT_EQ(uncaptured(Uncaptured::NoListener), target_stats().refused_no_listener);
}

TEST_F(CgroupCapture, ListenersCloseWhenTheCgroupIsEmpty) {
  attach(kOpen);
  EXPECT_EQ(capture_->stats().namespaces, 1U);
  EXPECT_EQ(capture_->stats().listeners, 8U) << "three a family suffice, rounded up to two workers";
  resident_.reset();
  EXPECT_TRUE(eventually([&] { return capture_->stats().listeners == 0 && sink_.addresses().empty(); }));
  EXPECT_EQ(capture_->stats().namespaces, 0U);
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

TEST_F(CgroupCapture, TargetThatComesBackIsAttachedAgain) {
  attach(kOpen);
  resident_.reset();
  cgroup_.remove();
  ASSERT_TRUE(eventually([&] { return sink_.gone() == 1; }));
  EXPECT_FALSE(target_stats().attached);
  cgroup_.make();
  ASSERT_TRUE(eventually([&] { return sink_.back() == 1; }));
  ASSERT_TRUE(capture_->prepare_netns(kSlot, -1));
  capture_->renew_lease();
  expect_captured({.to = ep("192.0.2.10:443")});
}

TEST_F(CgroupCapture, DetachReleasesTheSlotAndAttachingTwiceReplaces) {
  attach(kOpen);
  const int programs = cgroup_.attached_programs();
  EXPECT_EQ(programs, 10);
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, cgroup_.path(), kClosed));
  EXPECT_EQ(cgroup_.attached_programs(), programs);
  expect_captured({.to = ep("192.0.2.10:443")});
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  EXPECT_EQ(capture_->detach(kSlot).error().code, Code::NotFound);
  EXPECT_EQ(capture_->attach_cgroup(kSlot, "/tmp", kOpen).error().code, Code::InvalidArgument);
  EXPECT_EQ(capture_->attach_cgroup(99, cgroup_.path(), kOpen).error().code, Code::InvalidArgument);
}

TEST_F(CgroupCapture, DestructorLeavesNothingBehind) {
  attach(kClosed);
  EXPECT_EQ(cgroup_.attached_programs(), 10);
  capture_.reset();
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  EXPECT_TRUE(sink_.addresses().empty());
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
  EXPECT_EQ(lab::output_of("grep " + directory_.path() + " /proc/self/mounts"), "");
}

TEST_F(CgroupCapture, KeepClosedGoesOnRefusingUntilLeftoversAreCleaned) {
  attach(kClosed);
  capture_->keep_closed();
  capture_.reset();
  Client client(cgroup_.path(), -1, connects({.to = ep("192.0.2.10:443")}));
  EXPECT_EQ(client.report().error, ECONNREFUSED);
  ASSERT_TRUE(clean_leftovers(directory_.path()));
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
}

TEST_F(CgroupCapture, ConnectionsOlderThanTheAttachAreCounted) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  Client early(cgroup_.path(), -1, [](Report& report) {
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("198.18.0.1:18080")->to_sockaddr(raw);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    report.error = ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == 0 ? 0 : errno;
  });
  ASSERT_EQ(early.report().error, 0);
  Client outside("", -1, connects({.to = ep("198.18.0.1:18080")}));
  ASSERT_EQ(outside.report().error, 0);
  attach(kOpen);
  EXPECT_EQ(uncaptured(Uncaptured::PreExisting), 1U);
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

// A process of its own owns the capture and is killed. `policy` decides what is left.
class KilledOwner : public CgroupCapture {
 protected:
  void own_and_die(TargetPolicy policy) {
    resident_ = std::make_unique<Client>(cgroup_.path(), -1, [](Report&) {});
    (void)resident_->report();
    Client owner("", -1, [&](Report& report) {
      auto made = Capture::create(options_, sink_);
      report.error = made && (*made)->attach_cgroup(kSlot, cgroup_.path(), policy) ? 0 : EIO;
      if (made) (*made)->renew_lease();
      if (made) (void)made->release();  // outlives this function; only SIGKILL ends it
    });
    ASSERT_EQ(owner.report().error, 0);
    EXPECT_EQ(cgroup_.attached_programs(), 10);
    EXPECT_EQ(clean_leftovers(directory_.path()).error().code, Code::Busy) << "its owner is alive";
    owner.kill_and_wait();
  }
};

TEST_F(KilledOwner, OpenTargetIsFreeAtOnce) {
  own_and_die(kOpen);
  EXPECT_TRUE(eventually([&] { return cgroup_.attached_programs() == 0; }));
  EXPECT_TRUE(clean_leftovers(directory_.path()));
}

TEST_F(KilledOwner, ClosedTargetRefusesUntilLeftoversAreCleaned) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  own_and_die(kClosed);
  EXPECT_EQ(cgroup_.attached_programs(), 10);
  Client client(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  EXPECT_EQ(client.report().error, ECONNREFUSED);
  ASSERT_TRUE(clean_leftovers(directory_.path()));
  EXPECT_TRUE(eventually([&] { return cgroup_.attached_programs() == 0; }));
  EXPECT_EQ(lab::output_of("grep " + directory_.path() + " /proc/self/mounts"), "");
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
  Client after(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  EXPECT_EQ(after.report().error, 0);
}

TEST_F(KilledOwner, ClosedTargetHasNoOpenMomentUntilItsSuccessorAttaches) {
  own_and_die(kClosed);
  start();
  EXPECT_EQ(cgroup_.attached_programs(), 10) << "kept by the successor";
  Client refused(cgroup_.path(), -1, connects({.to = ep("192.0.2.10:443")}));
  EXPECT_EQ(refused.report().error, ECONNREFUSED);
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, cgroup_.path(), kClosed));
  EXPECT_EQ(cgroup_.attached_programs(), 10) << "the predecessor's are gone";
  capture_->renew_lease();
  expect_captured({.to = ep("192.0.2.10:443")});
  capture_.reset();
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
}

TEST_F(KilledOwner, ClosedTargetNobodyAttachesAgainIsFreedByItself) {
  own_and_die(kClosed);
  start();
  EXPECT_TRUE(eventually([&] { return cgroup_.attached_programs() == 0; }, 8000));
}

}  // namespace
}  // namespace tapdeck::kernel
