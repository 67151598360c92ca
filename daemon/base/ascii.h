// ASCII without a locale: host names, header names and schemes are compared in lower case whatever LC_CTYPE says.
// Thread: any. Pure.
#pragma once

#include <string>
#include <string_view>

namespace tapdeck {

[[nodiscard]] constexpr char lowered(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

[[nodiscard]] inline std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lowered(c);
  return out;
}

}  // namespace tapdeck
