// KernelCounts: what the kernel's programs counted, by the label of the target it was of. They count by slot, which
// targets have one after another, and never start anew.
//
// Owner: the Engine. Thread: any.
#pragma once

#include <array>
#include <mutex>

#include "daemon/base/metrics.h"
#include "daemon/kernel/capture.h"
#include "daemon/modes/runtime_state.h"

namespace tapdeck::app {

class KernelCounts {
 public:
  // Adds what was counted since the call before to the targets that have the slots in `now`. Call it before a slot is
  // given to another one.
  void take(const kernel::Stats& stats, const modes::RuntimeSnapshot& now);
  // Adds all that was taken.
  void read(MetricsSnapshot& out) const;

 private:
  using Sums = std::array<uint64_t, kTargetCounters>;
  mutable std::mutex mutex_;
  std::array<Sums, kTargetSlots> seen_{};      // by slot
  std::array<Sums, kTargetSlots> by_label_{};  // by label
};

}  // namespace tapdeck::app
