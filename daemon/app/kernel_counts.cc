#include "daemon/app/kernel_counts.h"

#include <algorithm>

namespace tapdeck::app {
namespace {

Counter counter_of(kernel::Uncaptured reason) {
  switch (reason) {
    case kernel::Uncaptured::Udp:
    case kernel::Uncaptured::Dns:
      return Counter::UncapturedUdp;
    case kernel::Uncaptured::Quic:
      return Counter::UncapturedQuic;
    case kernel::Uncaptured::Raw:
      return Counter::UncapturedRaw;
    case kernel::Uncaptured::Other:
    case kernel::Uncaptured::Fragment:
      return Counter::UncapturedFamily;
    case kernel::Uncaptured::BoundDevice:
      return Counter::UncapturedBoundDevice;
    case kernel::Uncaptured::Lease:
      return Counter::UncapturedLease;
    case kernel::Uncaptured::MapFull:
      return Counter::UncapturedMapFull;
    case kernel::Uncaptured::NoListener:
      return Counter::UncapturedNoListener;
    case kernel::Uncaptured::PreExisting:
      return Counter::UncapturedPreExisting;
    case kernel::Uncaptured::LeftCgroup:
      return Counter::UncapturedLeftCgroup;
    case kernel::Uncaptured::ToHost:
      return Counter::UncapturedBypass;
  }
  return Counter::UncapturedFamily;
}

std::array<uint64_t, kTargetCounters> sums_of(const kernel::TargetStats& target) {
  std::array<uint64_t, kTargetCounters> sums{};
  const auto add = [&](Counter counter, uint64_t n) { sums[static_cast<size_t>(counter)] += n; };
  for (size_t i = 0; i < kernel::kUncapturedReasons; ++i) {
    add(counter_of(static_cast<kernel::Uncaptured>(i)), target.uncaptured[i]);
  }
  add(Counter::TargetGaps, target.gaps);
  add(Counter::TargetGapMilliseconds, static_cast<uint64_t>(target.gap_total.count()));
  const uint64_t not_tcp = target.refused_sealed_udp + target.refused_sealed_dns + target.refused_sealed_other;
  add(Counter::SealedRefusedTcp, target.refused_sealed - std::min(target.refused_sealed, not_tcp));
  add(Counter::SealedRefusedUdp, target.refused_sealed_udp);
  add(Counter::SealedRefusedDns, target.refused_sealed_dns);
  add(Counter::SealedRefusedOther, target.refused_sealed_other);
  return sums;
}

}  // namespace

void KernelCounts::take(const kernel::Stats& stats, const modes::RuntimeSnapshot& now) {
  const std::scoped_lock lock(mutex_);
  for (const kernel::TargetStats& target : stats.targets) {
    if (target.target >= kTargetSlots) continue;
    const Sums sums = sums_of(target);
    Sums& seen = seen_[target.target];
    Sums& of_label = by_label_[now.targets[target.target].label];
    for (size_t i = 0; i < kTargetCounters; ++i) {
      if (sums[i] <= seen[i]) continue;  // read while it was being counted, a difference may be less than before
      of_label[i] += sums[i] - seen[i];
      seen[i] = sums[i];
    }
  }
}

void KernelCounts::read(MetricsSnapshot& out) const {
  const std::scoped_lock lock(mutex_);
  for (size_t label = 0; label < kTargetSlots; ++label) {
    for (size_t i = 0; i < kTargetCounters; ++i) {
      out.add(static_cast<TargetSlot>(label), static_cast<Counter>(i), by_label_[label][i]);
    }
  }
}

}  // namespace tapdeck::app
