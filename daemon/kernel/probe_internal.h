// probe_internal: the probes that run a whole capture, kept apart from the list in probe.cc. Each runs in a child of
// its own and may leave its thread in any namespace. Not for anyone but probe.cc.
#pragma once

#include <chrono>
#include <string>

#include "daemon/base/result.h"

namespace tapdeck::kernel::probes {

// No probe is waited for any longer.
inline constexpr std::chrono::milliseconds kTimeLimit{8000};

// What a probe saw; an error says why it failed.
using Outcome = Result<std::string>;

[[nodiscard]] Outcome cgroup_capture();  // a process connects to nowhere and arrives at our listener
[[nodiscard]] Outcome cgroup_escapes();  // a process moves out of a cgroup and is counted
[[nodiscard]] Outcome tc_capture();      // the same over a veth pair, by bpf_sk_assign
[[nodiscard]] Outcome netns_capture();   // the same in a namespace of its own, as an ordinary user; probe_namespace.cc

}  // namespace tapdeck::kernel::probes
