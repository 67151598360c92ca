// The clock of the kernel programs (bpf_ktime_get_ns): CLOCK_MONOTONIC of the initial time namespace, whichever one
// this process is in. Thread: any.
#pragma once

#include <cstdint>
#include <string_view>

namespace tapdeck::kernel {

[[nodiscard]] uint64_t monotonic_ns();

// The offset from the text of /proc/self/timens_offsets, which are those of the namespace that children get
// (time_namespaces(7)), and what /proc/self/ns/time and time_for_children link to; 0 where these differ: after
// unshare() without a fork our own offset is shown nowhere, and is that of before, most likely none.
[[nodiscard]] int64_t own_offset_ns(std::string_view timens_offsets, std::string_view own_namespace,
                                    std::string_view namespace_of_children);

// By how much CLOCK_MONOTONIC in that namespace is ahead of it, from the text of /proc/self/timens_offsets; 0: no such
// line.
[[nodiscard]] int64_t monotonic_offset_ns(std::string_view timens_offsets);

}  // namespace tapdeck::kernel
