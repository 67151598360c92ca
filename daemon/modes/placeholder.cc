#include "daemon/modes/placeholder.h"

#include <algorithm>
#include <string>

#include "daemon/base/ascii.h"

namespace tapdeck::modes {
namespace {

constexpr std::string_view kBegin = "[redacted:";
constexpr std::string_view kWord = "redacted";  // what no encoding changes
constexpr size_t kDigits = 8;
constexpr int kEncodings = 3;

// The credentials that clients make of http://[redacted:xxxxxxxx]@host/: kBegin in base64, as far as it goes.
constexpr std::string_view kBasic = "basic";
constexpr std::string_view kBasicBegin = "W3JlZGFjdGVkO";

bool holds_plain(std::string_view text) {
  for (size_t at = text.find(kBegin); at != std::string_view::npos; at = text.find(kBegin, at + 1)) {
    const std::string_view rest = text.substr(at + kBegin.size());
    const std::string_view digits = rest.substr(0, kDigits);
    const bool is_closed = rest.size() > kDigits && rest[kDigits] == ']';
    if (is_closed && digits.find_first_not_of("0123456789abcdef") == std::string_view::npos) return true;
  }
  return false;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One encoding less, of lower case text; a broken escape stays as it is.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '%' && i + 2 < text.size();
    const int high = is_escape ? hex_value(text[i + 1]) : -1;
    const int low = is_escape ? hex_value(text[i + 2]) : -1;
    const bool is_whole = high >= 0 && low >= 0;
    out.push_back(is_whole ? static_cast<char>(high * 16 + low) : text[i]);
    if (is_whole) i += 2;
  }
  return out;
}

bool is_basic_of_one(std::string_view value) {
  if (!http::iequals(value.substr(0, kBasic.size()), kBasic)) return false;
  return http::trim_ows(value.substr(kBasic.size())).starts_with(kBasicBegin);
}

}  // namespace

bool holds_placeholder(std::string_view text) {
  const auto same = [](char a, char b) { return lowered(a) == b; };
  if (std::ranges::search(text, kWord, same).empty()) return false;
  std::string now = lowered(text);
  for (int times = 0; !holds_plain(now); ++times) {
    if (times == kEncodings || !now.contains('%')) return false;
    now = percent_decoded(now);
  }
  return true;
}

std::string_view placeholder_in(const http::RequestHead& head) {
  if (holds_placeholder(head.target)) return "URL";
  for (size_t i = 0; i < head.headers.size(); ++i) {
    const http::Headers::Field field = head.headers[i];
    if (holds_placeholder(field.value) || is_basic_of_one(field.value)) return field.name;
  }
  return {};
}

}  // namespace tapdeck::modes
