// CgroupCapture: the fixture of the cgroup path's tests against the real kernel. Destinations are documentation
// addresses in a namespace without routes: only a rewrite can make a connect to them succeed.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>

#include "daemon/kernel/capture.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/netns/lab.h"

namespace tapdeck::kernel {

using lab::Client;
using lab::connects;
using lab::ep;
using lab::Report;

inline constexpr uint32_t kSlot = 5;
// Attached to the cgroup of a target, and those beside that see every packet.
inline constexpr int kPrograms = 12;
inline constexpr int kFilters = 2;
inline constexpr TargetPolicy kOpen{OnLease::Open, Sealed::No};
inline constexpr TargetPolicy kClosed{OnLease::Closed, Sealed::No};
inline constexpr TargetPolicy kSealed{OnLease::Closed, Sealed::Yes};

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

  TestDirectory directory_;
  lab::FreshNetns netns_;
  lab::TestCgroup cgroup_;
  lab::Sink sink_;
  CaptureOptions options_;
  std::unique_ptr<Capture> capture_;
  std::unique_ptr<Client> resident_;
};

}  // namespace tapdeck::kernel
