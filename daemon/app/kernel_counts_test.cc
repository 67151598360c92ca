#include "daemon/app/kernel_counts.h"

#include <gtest/gtest.h>

#include "daemon/admin/exporter.h"

namespace tapdeck::app {
namespace {

constexpr uint32_t kSlot = 3;

kernel::Stats seen(uint64_t dns, uint64_t sealed, uint64_t sealed_dns) {
  kernel::Stats stats;
  kernel::TargetStats& target = stats.targets.emplace_back();
  target.target = kSlot;
  target.uncaptured[static_cast<size_t>(kernel::Uncaptured::Dns)] = dns;
  target.refused_sealed = sealed;
  target.refused_sealed_dns = sealed_dns;
  return stats;
}

modes::RuntimeSnapshot labelled(TargetSlot label) {
  modes::RuntimeSnapshot snapshot;
  snapshot.targets[kSlot].label = label;
  return snapshot;
}

uint64_t value(const KernelCounts& counts, TargetSlot label, Counter counter) {
  MetricsSnapshot out;
  counts.read(out);
  return out.by_target[Metrics::target_index(label, counter)];
}

TEST(KernelCounts, WhatIsNotTcpIsTakenFromTheSumOfSealedRefusals) {
  KernelCounts counts;
  counts.take(seen(4, 5, 2), labelled(1));
  EXPECT_EQ(value(counts, 1, Counter::UncapturedUdp), 4U);
  EXPECT_EQ(value(counts, 1, Counter::SealedRefusedTcp), 3U);
  EXPECT_EQ(value(counts, 1, Counter::SealedRefusedDns), 2U);
}

TEST(KernelCounts, ASlotThatAnotherTargetHasNowCountsOnUnderThatName) {
  KernelCounts counts;
  counts.take(seen(4, 0, 0), labelled(1));
  counts.take(seen(9, 0, 0), labelled(2));
  counts.take(seen(9, 0, 0), labelled(2));
  EXPECT_EQ(value(counts, 1, Counter::UncapturedUdp), 4U);
  EXPECT_EQ(value(counts, 2, Counter::UncapturedUdp), 5U);
  MetricsSnapshot all;
  counts.read(all);
  EXPECT_EQ(all.value(Counter::UncapturedUdp), 9U);
}

// As the Engine does: what was counted, and the label that it has on the metrics page.
struct Counted final : GaugeSource {
  void read(MetricsSnapshot& out) override { counts.read(out); }
  KernelCounts counts;
};

TEST(KernelCounts, EveryReasonIsShownUnderItsOwnName) {
  constexpr std::pair<kernel::Uncaptured, std::string_view> kReasons[] = {
      {kernel::Uncaptured::Udp, "udp"},
      {kernel::Uncaptured::Dns, "udp"},
      {kernel::Uncaptured::Quic, "quic"},
      {kernel::Uncaptured::Raw, "raw"},
      {kernel::Uncaptured::Other, "family"},
      {kernel::Uncaptured::BoundDevice, "bound_device"},
      {kernel::Uncaptured::Lease, "lease"},
      {kernel::Uncaptured::MapFull, "map_full"},
      {kernel::Uncaptured::NoListener, "no_listener"},
      {kernel::Uncaptured::PreExisting, "pre_existing"},
      {kernel::Uncaptured::Fragment, "family"},
      {kernel::Uncaptured::LeftCgroup, "left_cgroup"},
      {kernel::Uncaptured::ToHost, "bypass"},
  };
  static_assert(std::size(kReasons) == kernel::kUncapturedReasons);
  for (size_t i = 0; i < kernel::kUncapturedReasons; ++i) {
    const auto& [reason, name] = kReasons[i];
    ASSERT_EQ(static_cast<size_t>(reason), i) << "each once";
    Counted counted;
    MetricsRegistry registry;
    registry.add_source(counted);
    kernel::Stats stats;
    stats.targets.emplace_back().target = kSlot;
    stats.targets.front().uncaptured[i] = 4711;
    counted.counts.take(stats, labelled(registry.target_slot("web")));
    const std::string page = admin::render_metrics(registry);
    const std::string line =
        "\ntapdeck_flows_uncaptured_total{target=\"web\",reason=\"" + std::string(name) + "\"} 4711\n";
    const size_t at = page.find(line);
    EXPECT_NE(at, std::string::npos) << name;
    EXPECT_EQ(page.find(" 4711\n"), page.rfind(" 4711\n")) << name << ": nowhere else";
    EXPECT_EQ(to_string(reason), name) << "as `tapdeck targets` has it";
  }
}

}  // namespace
}  // namespace tapdeck::app
