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

// The candidate nearest to `word` by edit distance, when near enough to be a likely slip; empty otherwise. For
// "did you mean" hints. The view points into `candidates`.
template <class Range>
[[nodiscard]] std::string_view nearest(std::string_view word, const Range& candidates);

namespace detail {
[[nodiscard]] size_t edit_distance(std::string_view a, std::string_view b);
}

template <class Range>
std::string_view nearest(std::string_view word, const Range& candidates) {
  std::string_view best;
  size_t best_distance = word.size() / 3 + 2;  // a third of the letters and one slip more
  for (const auto& candidate : candidates) {
    const size_t distance = detail::edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace tapdeck
