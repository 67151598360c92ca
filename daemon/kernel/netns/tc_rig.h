// TcCapture: the fixture of the tc path's tests against the real kernel: client namespace -- this one (the gateway,
// where Capture runs) -- origin namespace, joined by veth pairs, IPv4 and IPv6. Nothing leads out of them.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>

#include "daemon/kernel/capture.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/netns/lab.h"

namespace tapdeck::kernel {

using lab::Client;
using lab::connects;
using lab::ep;
using lab::Report;

class TcCapture : public testing::Test {
 protected:
  static constexpr uint32_t kSlot = 9;
  static constexpr TargetPolicy kOpen{OnLease::Open, Sealed::No};
  static constexpr TargetPolicy kClosed{OnLease::Closed, Sealed::No};
  static constexpr TargetPolicy kSealed{OnLease::Closed, Sealed::Yes};

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

  TestDirectory directory_;
  lab::FreshNetns netns_;
  lab::SideNetns client_;
  lab::SideNetns origin_;
  lab::Sink sink_;
  CaptureOptions options_;
  std::unique_ptr<Capture> capture_;
};

}  // namespace tapdeck::kernel
