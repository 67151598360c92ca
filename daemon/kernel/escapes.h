// Escapes: the BPF programs that see processes leave the cgroups of targets. They count into the targets' counters
// (Uncaptured::LeftCgroup) and send TAPDECK_EVENT_LEFT_CGROUP; nothing of them is pinned. Where the kernel does not
// let them be loaded, capture works without: the caller says so. Thread: control thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "daemon/base/result.h"
#include "daemon/kernel/bpf_programs.h"

struct tapdeck_escape;

namespace tapdeck::kernel {

class Escapes {
 public:
  // Loads and attaches. `maps` outlives it. Unsupported and others, with the reason: no BTF, too old a kernel,
  // tracing not permitted.
  [[nodiscard]] static Result<std::unique_ptr<Escapes>> watch(const BpfMaps& maps);
  ~Escapes();  // detaches
  Escapes(const Escapes&) = delete;
  Escapes& operator=(const Escapes&) = delete;

  // From now on who leaves this cgroup, whether there already or to come, counts for `slot`.
  [[nodiscard]] Result<void> add(uint32_t slot, uint64_t cgroup_id);
  // Unknown slots are ignored.
  void remove(uint32_t slot);

 private:
  Escapes() = default;
  [[nodiscard]] Result<void> mark_present() const;

  tapdeck_escape* skeleton_ = nullptr;
  std::map<uint64_t, uint64_t> slots_;  // by cgroup id, a bit for each
};

}  // namespace tapdeck::kernel
