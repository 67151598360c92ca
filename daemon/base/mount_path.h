// Paths in the kernel's mount tables (/proc/PID/mounts, mountinfo). Thread: any. Pure.
#pragma once

#include <string>
#include <string_view>

namespace tapdeck {

// Space, tab, newline and backslash are written there as \ooo. A backslash without three octal digits stays.
[[nodiscard]] inline std::string unescape_mount_path(std::string_view text) {
  const auto octal = [&](size_t at) { return text[at] >= '0' && text[at] <= '7'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace tapdeck
