// "Did you mean": which of the known names comes nearest to what was written. Thread: any. Pure.
#pragma once

#include <cstddef>
#include <string_view>

namespace tapdeck {

// Letters to insert, delete or replace to make one of the other (Levenshtein).
[[nodiscard]] size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, the first of several, when near enough to be a likely slip: a third of the letters,
// rounded up, may differ. Empty otherwise. The view points into `candidates`.
template <class Range>
[[nodiscard]] std::string_view nearest(std::string_view word, const Range& candidates) {
  std::string_view best;
  size_t best_distance = (word.size() + 2) / 3 + 1;
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace tapdeck
