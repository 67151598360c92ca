// Connections from a captured interface to this host itself: its services are reached as without us.
#include <gtest/gtest.h>

#include "daemon/kernel/netns/tc_rig.h"

namespace tapdeck::kernel {
namespace {

class TcToThisHost : public TcCapture {
 protected:
  void expect_reached(const std::string& address) {
    Client client("", client_.fd(), connects({.to = ep(address)}));
    EXPECT_EQ(client.report().error, 0) << address;
    EXPECT_TRUE(lab::accepts_within(service_, 1000)) << address;
  }
  void listen_on(const std::string& address) { service_ = lab::listen_on(ep(address)); }

  UniqueFd service_;
};

TEST_F(TcToThisHost, ServicesAreReachedAndCounted) {
  attach(kOpen);
  listen_on("0.0.0.0:18022");
  expect_reached("198.18.1.1:18022");
  expect_reached("198.18.2.1:18022");
  EXPECT_EQ(uncaptured(Uncaptured::ToHost), 2U);
  EXPECT_EQ(target_stats().captured, 0U);
  expect_captured("198.18.2.2:18022", "198.18.1.2");
  listen_on("[::]:18022");
  expect_reached("[fd00:1::1]:18022");
  expect_captured("[fd00:2::2]:18022", "fd00:1::2");
}

TEST_F(TcToThisHost, ServicesOfAClosedTargetAreReachedWithoutADaemonToo) {
  options_.lease = std::chrono::milliseconds(1);
  attach(kClosed);
  listen_on("198.18.1.1:18022");
  expect_reached("198.18.1.1:18022");
}

TEST_F(TcToThisHost, SealedTargetsReachNoService) {
  attach(kSealed);
  listen_on("0.0.0.0:18022");
  Client client("", client_.fd(), [](Report& report) {
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("198.18.1.1:18022")->to_sockaddr(raw);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    report.error = ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == 0 ? 0 : errno;
  });
  EXPECT_EQ(client.report().error, EINPROGRESS);
  EXPECT_TRUE(eventually([&] { return uncaptured(Uncaptured::ToHost) == 1; }));
  EXPECT_EQ(target_stats().refused_sealed, 1U);
  EXPECT_FALSE(lab::accepts_within(service_, 0));
}

TEST_F(TcToThisHost, AddressesThatComeAndGoAreFollowed) {
  lab::sh("ip route add 203.0.113.0/24 via 198.18.2.2");
  attach(kOpen);
  listen_on("0.0.0.0:18022");
  lab::sh("ip addr add 203.0.113.9/32 dev lo");
  EXPECT_TRUE(eventually([&] {
    Client client("", client_.fd(), connects({.to = ep("203.0.113.9:18022")}));
    return client.report().error == 0 && lab::accepts_within(service_, 10);
  }));
  lab::sh("ip addr del 203.0.113.9/32 dev lo");
  const uint64_t before = target_stats().captured;
  EXPECT_TRUE(eventually([&] {
    Client client("", client_.fd(), connects({.to = ep("203.0.113.9:18022")}));
    (void)client.report();
    return target_stats().captured > before;
  }));
}

}  // namespace
}  // namespace tapdeck::kernel
