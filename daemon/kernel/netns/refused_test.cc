// Destinations that are refused as they were recorded: connect() itself says so, for those and for nothing else.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "daemon/kernel/netns/capture_rig.h"

namespace tapdeck::kernel {
namespace {

// connect() of a socket that does not wait.
Client::Body connects_without_waiting(const Endpoint& to) {
  return [to](Report& report) {
    sockaddr_storage raw{};
    const socklen_t length = to.to_sockaddr(raw);
    const int fd = ::socket(raw.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0) report.error = errno;
  };
}

class RefusedAsRecorded : public CgroupCapture {
 protected:
  int error_of(const lab::ConnectOptions& options) {
    Client client(cgroup_.path(), -1, connects(options));
    return client.report().error;
  }
  size_t refuse(const std::vector<Endpoint>& destinations) {
    const auto refused = capture_->refuse_as_recorded(kSlot, destinations);
    EXPECT_TRUE(refused) << (refused ? "" : refused.error().message());
    return refused.value_or(0);
  }
};

TEST_F(RefusedAsRecorded, ConnectSaysSoInEveryFamilyAndForNothingElse) {
  attach(kOpen);
  ASSERT_EQ(refuse({ep("192.0.2.10:81"), ep("[2001:db8::7]:81")}), 2U)
      << "needs bpf_set_retval (Linux 5.18): the daemon's reset stands in for it elsewhere";
  EXPECT_EQ(error_of({.to = ep("192.0.2.10:81")}), ECONNREFUSED);
  EXPECT_EQ(error_of({.to = ep("[2001:db8::7]:81")}), ECONNREFUSED);
  EXPECT_EQ(error_of({.to = ep("192.0.2.10:81"), .as_family = AF_INET6}), ECONNREFUSED) << "v4-mapped";
  for (const char* to : {"192.0.2.10:81", "[2001:db8::7]:81"}) {
    Client client(cgroup_.path(), -1, connects_without_waiting(ep(to)));
    EXPECT_EQ(client.report().error, ECONNREFUSED) << to;
  }
  expect_captured({.to = ep("192.0.2.10:82")});
  expect_captured({.to = ep("192.0.2.11:81")});
  expect_captured({.to = ep("[2001:db8::7]:82")});
  const TargetStats stats = target_stats();
  EXPECT_EQ(stats.refused_as_recorded, 5U);
  EXPECT_EQ(stats.refused_sealed, 0U);
  EXPECT_EQ(stats.captured, 3U);
  ASSERT_TRUE(eventually([&] { return sink_.refusals_as_recorded().size() == 5; }));
  const Refusal first = sink_.refusals_as_recorded().front();
  EXPECT_EQ(first.destination, ep("192.0.2.10:81"));
  EXPECT_EQ(first.protocol, IPPROTO_TCP);
  EXPECT_EQ(first.target, kSlot);
  EXPECT_NE(first.comm.front(), '\0');
  EXPECT_TRUE(sink_.refusals().empty()) << "nothing was sealed off";
}

TEST_F(RefusedAsRecorded, ANewListTakesThePlaceOfTheOldAndDatagramsAreNotConcerned) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  attach(kClosed);
  ASSERT_EQ(refuse({ep("192.0.2.10:81"), ep("198.18.0.1:9999")}), 2U);
  Client datagram(cgroup_.path(), -1, lab::sends_udp(ep("198.18.0.1:9999"), lab::Connected::Yes));
  EXPECT_EQ(datagram.report().error, 0);
  ASSERT_EQ(refuse({ep("192.0.2.12:81")}), 1U);
  expect_captured({.to = ep("192.0.2.10:81")});
  EXPECT_EQ(error_of({.to = ep("192.0.2.12:81")}), ECONNREFUSED);
  ASSERT_TRUE(capture_->set_policy(kSlot, kSealed));
  EXPECT_EQ(error_of({.to = ep("192.0.2.12:81")}), ECONNREFUSED) << "another policy leaves them";
  EXPECT_EQ(refuse({}), 0U);
  expect_captured({.to = ep("192.0.2.12:81")});
}

TEST_F(RefusedAsRecorded, GoesWithItsTarget) {
  attach(kOpen);
  ASSERT_EQ(refuse({ep("192.0.2.10:81")}), 1U);
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_FALSE(capture_->refuse_as_recorded(kSlot, {ep("192.0.2.10:81")})) << "nobody is there";
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, cgroup_.path(), kOpen));
  expect_captured({.to = ep("192.0.2.10:81")});
}

TEST_F(RefusedAsRecorded, PastTheLeaseThePolicyDecides) {
  attach(kOpen);
  ASSERT_EQ(refuse({ep("192.0.2.10:81")}), 1U);
  capture_->keep_closed();
  ASSERT_TRUE(capture_->set_policy(kSlot, kClosed));
  capture_.reset();
  EXPECT_EQ(error_of({.to = ep("192.0.2.10:82")}), ECONNREFUSED) << "closed";
  start();
  capture_->renew_lease();
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, cgroup_.path(), kOpen));
  expect_captured({.to = ep("192.0.2.10:81")});
}

TEST_F(RefusedAsRecorded, WhatDoesNotFitArrivesAsEver) {
  attach(kOpen);
  std::vector<Endpoint> many;
  for (unsigned i = 0; i < 65537; ++i) {
    Endpoint one = ep("10.1.0.0:81");
    one.address[1] = static_cast<uint8_t>(1 + (i >> 16));
    one.address[2] = static_cast<uint8_t>(i >> 8);
    one.address[3] = static_cast<uint8_t>(i);
    many.push_back(one);
  }
  EXPECT_EQ(refuse(many), 65536U);
  EXPECT_EQ(error_of({.to = many.front()}), ECONNREFUSED);
  expect_captured({.to = many.back()});
  EXPECT_EQ(refuse({many.back()}), 1U) << "there is room again";
  EXPECT_EQ(error_of({.to = many.back()}), ECONNREFUSED);
}

}  // namespace
}  // namespace tapdeck::kernel
