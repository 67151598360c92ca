// Durations and byte sizes as people write them ("1.5s", "300ms", "64MiB"). Pure text <-> number. Thread: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck {

// Units ns, us, ms, s, m, h, d; several may follow each other ("1h30m"); "0" needs none. InvalidArgument otherwise,
// and when the value does not fit 64-bit nanoseconds (292 years) or is negative.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_duration(std::string_view text);
// Exact shortest form: "1h30m", "10s", "0s".
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);

// Units B, KiB, MiB, GiB, TiB (1024) and kB, KB, MB, GB, TB (1000); "0" needs none; decimals allowed. InvalidArgument
// otherwise and past 2^63.
[[nodiscard]] Result<uint64_t> parse_size(std::string_view text);
// Exact: the largest 1024 unit that divides it, "64MiB", else "1000B".
[[nodiscard]] std::string format_size(uint64_t bytes);
// Rounded for people: "1.4 MiB".
[[nodiscard]] std::string human_size(uint64_t bytes);

}  // namespace tapdeck
