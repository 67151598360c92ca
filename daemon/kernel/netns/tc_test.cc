// The tc path against the real kernel: client namespace -- this one (the gateway, where Capture runs) -- origin
// namespace, joined by veth pairs, IPv4 and IPv6. Nothing leads out of them.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/kernel/capture.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/netns/lab.h"

namespace tapdeck::kernel {
namespace {

using lab::Client;
using lab::connects;
using lab::ep;
using lab::eventually;
using lab::Report;

constexpr uint32_t kSlot = 9;
constexpr TargetPolicy kOpen{OnLease::Open, Sealed::No};
constexpr TargetPolicy kClosed{OnLease::Closed, Sealed::No};
constexpr TargetPolicy kSealed{OnLease::Closed, Sealed::Yes};

class TcCapture : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
    options_.run_dir = directory_.path();
    options_.workers = 2;
    options_.lease = std::chrono::seconds(60);  // a busy machine must not end it; tests of the lease shorten it
    connect_namespace(client_, "c", "198.18.1", "fd00:1:");
    connect_namespace(origin_, "o", "198.18.2", "fd00:2:");
    lab::sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  }

  // veth <name>0 here, <name>1 there; .1 here and .2 there, default route there.
  static void connect_namespace(const lab::SideNetns& ns, const std::string& name, const std::string& four,
                                const std::string& six) {
    const std::string inside = ns.prefix();
    const std::string here = name + "0", there = name + "1";
    lab::sh("ip link add " + here + " type veth peer name " + there);
    lab::sh("ip link set " + there + " netns " + "/proc/" + std::to_string(::getpid()) + "/fd/" +
            std::to_string(ns.fd()));
    lab::sh("ip addr add " + four + ".1/24 dev " + here + " && ip addr add " + six + ":1/64 dev " + here + " nodad");
    lab::sh("ip link set " + here + " up");
    lab::sh(inside + "ip addr add " + four + ".2/24 dev " + there);
    lab::sh(inside + "ip addr add " + six + ":2/64 dev " + there + " nodad");
    lab::sh(inside + "ip link set " + there + " up");
    lab::sh(inside + "ip route add default via " + four + ".1");
    lab::sh(inside + "ip -6 route add default via " + six + ":1");
  }

  void attach(TargetPolicy policy) {
    auto made = Capture::create(options_, sink_);
    ASSERT_TRUE(made) << made.error().message();
    capture_ = std::move(*made);
    capture_->renew_lease();
    const auto attached = capture_->attach_interface(kSlot, "c0", policy);
    ASSERT_TRUE(attached) << attached.error().message();
  }

  // A listening socket in the origin namespace.
  UniqueFd origin_listener(const std::string& address) {
    UniqueFd out;
    const auto home = open_own_netns();
    EXPECT_TRUE(NetnsScope::run(origin_.fd(), home->get(), [&]() -> Result<void> {
      out = lab::listen_on(ep(address));
      return {};
    }));
    return out;
  }

  TargetStats target_stats() {
    const Stats stats = capture_->stats();
    return stats.targets.empty() ? TargetStats{} : stats.targets.front();
  }
  uint64_t uncaptured(Uncaptured reason) { return target_stats().uncaptured[static_cast<size_t>(reason)]; }

  void expect_captured(const std::string& destination, const std::string& from) {
    Client client("", client_.fd(), [to = ep(destination)](Report& report) {
      sockaddr_storage raw{};
      const socklen_t length = to.to_sockaddr(raw);
      const int fd = ::socket(raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const timeval limit{3, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
      char answer[4] = {};
      // Bytes in both directions: packets after the SYN have to find the flow as well.
      const bool works = ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == 0 && ::write(fd, "ping", 4) == 4 &&
                         ::recv(fd, answer, 4, MSG_WAITALL) == 4;
      report.error = works ? 0 : errno;
    });
    const auto accepted = sink_.accept();
    ASSERT_TRUE(accepted.fd);
    char question[4] = {};
    ASSERT_EQ(::recv(accepted.fd.get(), question, 4, MSG_WAITALL), 4);
    ASSERT_EQ(::write(accepted.fd.get(), "pong", 4), 4);
    EXPECT_EQ(client.report().error, 0);
    const auto flow = capture_->resolve(accepted.key, accepted.client, accepted.local);
    ASSERT_TRUE(flow) << flow.error().message();
    EXPECT_EQ(flow->original_destination, ep(destination));
    EXPECT_EQ(flow->client.ip(), from);
    EXPECT_EQ(flow->path, CapturePath::Tc);
    EXPECT_EQ(flow->identity.target, kSlot);
  }

  lab::TestDirectory directory_;
  lab::FreshNetns netns_;
  lab::SideNetns client_;
  lab::SideNetns origin_;
  lab::Sink sink_;
  CaptureOptions options_;
  std::unique_ptr<Capture> capture_;
};

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
  EXPECT_TRUE(eventually(
      [&] {
        Client client("", client_.fd(), connects({.to = ep("198.18.2.2:18080")}));
        (void)client.report();
        return lab::accepts_within(origin, 10);
      },
      2000));
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

TEST_F(TcCapture, DatagramsAreCountedAndQuicIsDropped) {
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
  capture_.reset();
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
  lab::TestDirectory other_directory;
  lab::Sink other_sink;
  CaptureOptions other_options = options_;
  other_options.run_dir = other_directory.path();
  other_options.mark += 2;
  other_options.route_table += 1;
  auto other = Capture::create(other_options, other_sink);
  ASSERT_TRUE(other) << other.error().message();
  ASSERT_TRUE((*other)->attach_interface(0, "c0", kOpen));
  capture_.reset();
  EXPECT_NE(lab::output_of("tc filter show dev c0 ingress | grep tapdeck"), "");
  (*other)->renew_lease();
  Client client("", client_.fd(), connects({.to = ep("198.18.2.2:443")}));
  EXPECT_TRUE(other_sink.accept().fd) << "the other instance goes on capturing";
  EXPECT_EQ(client.report().error, 0);
}

TEST_F(TcCapture, UnknownInterfaceAndLoopbackAreRefused) {
  attach(kOpen);
  EXPECT_EQ(capture_->attach_interface(3, "nosuch0", kOpen).error().code, Code::NotFound);
  EXPECT_EQ(capture_->attach_interface(3, "lo", kOpen).error().code, Code::Unsupported);
  EXPECT_EQ(capture_->attach_interface(3, "name-that-is-far-too-long", kOpen).error().code, Code::InvalidArgument);
}

}  // namespace
}  // namespace tapdeck::kernel
