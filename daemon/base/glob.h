// Globs of host names: in routes, bypass rules, allowed destinations. Pure. Thread: any.
#pragma once

#include <string_view>

#include "daemon/base/ascii.h"

namespace tapdeck {

// `*` stands for any bytes (also dots and none), everything else for itself; ASCII case is ignored. Linear in
// |pattern| * |text| at worst.
[[nodiscard]] inline bool glob_match(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;  // the last '*' seen, and where it began to match
  size_t star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && lowered(pattern[p]) == lowered(text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace tapdeck
