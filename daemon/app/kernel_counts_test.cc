#include "daemon/app/kernel_counts.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace tapdeck::app
