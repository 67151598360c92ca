#include "daemon/base/json_text.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace tapdeck {
namespace {

// Length of the valid UTF-8 sequence at the front of `text`, 0 if there is none. Overlong forms, surrogates and
// values past U+10FFFF are invalid.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 && first <= 0xF4  ? 4
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xC2 && first < 0xE0 ? 2
                                                        : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
      (first == 0xF4 && second > 0x8F)) {
    return 0;
  }
  return length;
}

// U+0080 to U+009F: the second set of control characters, which terminals obey like the first.
bool is_c1(std::string_view text) {
  return text.size() > 1 && text[0] == '\xC2' && static_cast<unsigned char>(text[1]) >= 0x80 &&
         static_cast<unsigned char>(text[1]) < 0xA0;
}

// Appends what stands for the first character of `text`, and takes it from there.
void append_escaped(std::string& out, std::string_view& text) {
  const auto byte = static_cast<unsigned char>(text.front());
  const size_t length = utf8_length(text);
  if (text.front() == '\n') {
    out += "\\n";
  } else if (byte < 0x20 || byte == 0x7F || is_c1(text)) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(text[length - 1]) + 0U);
    out += escaped;
  } else if (length > 0) {
    out += text.substr(0, length);
  } else {
    out += "\xEF\xBF\xBD";
  }
  text.remove_prefix(std::max<size_t>(length, 1));
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    if (text.front() == '"' || text.front() == '\\') out += '\\';
    append_escaped(out, text);
  }
  out += '"';
}

void append_printable(std::string& out, std::string_view text) {
  while (!text.empty()) append_escaped(out, text);
}

void escape_controls(std::string& json) {
  const auto is_control = [&](size_t at) { return json[at] == '\x7F' || is_c1(std::string_view(json).substr(at)); };
  size_t first = 0;
  while (first < json.size() && !is_control(first)) ++first;
  if (first == json.size()) return;
  std::string out = json.substr(0, first);
  std::string_view rest = std::string_view(json).substr(first);
  while (!rest.empty()) {
    if (rest.front() == '\x7F' || is_c1(rest)) {
      append_escaped(out, rest);
    } else {
      out += rest.front();
      rest.remove_prefix(1);
    }
  }
  json = std::move(out);
}

}  // namespace tapdeck
