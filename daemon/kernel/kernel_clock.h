// The clock of the kernel programs (bpf_ktime_get_ns): CLOCK_MONOTONIC of the initial time namespace, whichever one
// this process is in. Thread: any.
#pragma once

#include <cstdint>
#include <string_view>

namespace tapdeck::kernel {

[[nodiscard]] uint64_t monotonic_ns();

// By how much CLOCK_MONOTONIC of this process is ahead of it, from the text of /proc/self/timens_offsets; 0: no such
// line.
[[nodiscard]] int64_t monotonic_offset_ns(std::string_view timens_offsets);

}  // namespace tapdeck::kernel
