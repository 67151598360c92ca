// What is wrong with a configuration, each with its place, in the order of the file. Internal to config/. Thread: any.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/base/nearest.h"

namespace tapdeck::config {

struct Place {
  size_t line = 0, column = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
};

[[nodiscard]] inline std::string at(std::string_view file, Place place, const std::string& what) {
  return std::string(file) + ':' + std::to_string(place.line) + ':' + std::to_string(place.column) + ": " + what;
}

[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  return "'" + std::string(text) + "'";
}

// "; did you mean 'path'?" of the nearest; empty: none is near. One that begins with another letter, and is more than
// one slip away, is another word of about that length.
template <class Range>
[[nodiscard]] std::string did_you_mean(std::string_view word, const Range& known) {
  const std::string_view near = nearest(word, known);
  if (near.empty() || (near.front() != word.front() && edit_distance(word, near) > 1)) return {};
  return "; did you mean " + in_quotes(near) + "?";
}

class Problems {
 public:
  explicit Problems(std::string_view file) : file_(file) {}

  void add(Place place, const std::string& what) { found_.emplace_back(place, at(file_, place, what)); }
  [[nodiscard]] bool none() const { return found_.empty(); }
  [[nodiscard]] std::vector<std::string> lines() const {
    auto sorted = found_;
    std::ranges::sort(sorted);
    std::vector<std::string> out;
    for (auto& [place, line] : sorted) out.push_back(std::move(line));
    return out;
  }
  [[nodiscard]] std::string text() const {
    std::string out;
    const auto all = lines();
    for (size_t i = 0; i < std::min(all.size(), kMost); ++i) out += (i == 0 ? "" : "\n") + all[i];
    if (all.size() > kMost) out += "\n... and " + std::to_string(all.size() - kMost) + " more";
    return out;
  }

 private:
  static constexpr size_t kMost = 20;  // more do not help a reader

  std::string file_;
  std::vector<std::pair<Place, std::string>> found_;
};

}  // namespace tapdeck::config
