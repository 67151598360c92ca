#include "daemon/app/printable.h"

#include <cstdio>

#include "daemon/base/json_text.h"

namespace tapdeck::app {
namespace {

// Marks that let a terminal show text in another order than it is (U+200E and F, U+202A to E, U+2066 to 9), as escapes.
std::string without_direction_marks(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view mark = text.substr(i, 3);
    const auto last = mark.size() == 3 ? static_cast<unsigned char>(mark[2]) : 0U;
    const bool in_80 = mark.starts_with("\xE2\x80") && (last == 0x8E || last == 0x8F || (last >= 0xAA && last <= 0xAE));
    const bool in_81 = mark.starts_with("\xE2\x81") && last >= 0xA6 && last <= 0xA9;
    if (!in_80 && !in_81) {
      out += text[i];
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u20%02x", in_80 ? last - 0x80 : last - 0x80 + 0x40);
    out += escaped;
    i += 2;
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  append_printable(out, text);
  return out.contains('\xE2') ? without_direction_marks(out) : out;
}

std::string printable_lines(std::string_view text) {
  std::string out;
  while (true) {
    const size_t end = text.find('\n');
    out += printable(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

}  // namespace tapdeck::app
