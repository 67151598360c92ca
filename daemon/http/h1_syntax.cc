#include "daemon/http/h1_syntax.h"

#include <algorithm>

namespace tapdeck::http {

namespace {

constexpr std::array<uint8_t, 256> make_table() {
  constexpr std::string_view token_marks = "!#$%&'*+-.^_`|~";
  constexpr std::string_view host_marks = "-._~%!$&'()*+;=:[]";
  std::array<uint8_t, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    const char ch = static_cast<char>(c);
    const bool digit = ch >= '0' && ch <= '9';
    const bool alpha = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
    const bool hex = digit || (ch >= 'a' && ch <= 'f') || (ch >= 'A' && ch <= 'F');
    unsigned bits = 0;
    if (digit || alpha || token_marks.find(ch) != std::string_view::npos) bits |= kTokenByte;
    if (c == '\t' || (c >= 0x20 && c != 0x7f)) bits |= kValueByte;
    if (c > 0x20 && c < 0x7f) bits |= kTargetByte;
    if (digit || alpha || host_marks.find(ch) != std::string_view::npos) bits |= kHostByte;
    if (hex) bits |= kHexByte;
    if (digit) bits |= kDigitByte;
    table[c] = static_cast<uint8_t>(bits);
  }
  return table;
}

constexpr uint64_t kLargest = INT64_MAX;

constexpr std::array<std::string_view, 34> kMethods = {
    "GET",         "POST",   "HEAD",   "PUT",        "DELETE",   "OPTIONS", "PATCH",      "CONNECT", "TRACE",
    "COPY",        "LOCK",   "MKCOL",  "MOVE",       "PROPFIND", "SEARCH",  "PROPPATCH",  "UNLOCK",  "BIND",
    "REBIND",      "UNBIND", "ACL",    "REPORT",     "CHECKOUT", "MERGE",   "MKACTIVITY", "NOTIFY",  "M-SEARCH",
    "UNSUBSCRIBE", "PURGE",  "SOURCE", "MKCALENDAR", "LINK",     "UNLINK",  "SUBSCRIBE"};

// Splits "host:port" at the colon of the port, if any; IPv6 literals keep theirs inside brackets.
size_t port_colon(std::string_view text) {
  const size_t bracket = text.rfind(']');
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return colon;
  return bracket != std::string_view::npos && colon < bracket ? std::string_view::npos : colon;
}

bool is_port(std::string_view text) {
  const auto port = parse_length(text);
  return port && *port <= 65535;
}

bool is_host(std::string_view host) {
  if (host.empty() || !all_bytes(host, kHostByte)) return false;
  if (host.front() == '[')
    return host.size() > 2 && host.back() == ']' && host.find_first_of("[]", 1) == host.size() - 1;
  return host.find_first_of("[]:") == std::string_view::npos;
}

}  // namespace

constinit const std::array<uint8_t, 256> kByteClass = make_table();

std::optional<uint64_t> parse_length(std::string_view text) {
  if (text.empty() || !all_bytes(text, kDigitByte)) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const auto digit = static_cast<uint64_t>(c - '0');
    if (value > (kLargest - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

std::optional<uint64_t> parse_chunk_size(std::string_view text) {
  if (text.empty() || text.size() > 16 || !all_bytes(text, kHexByte)) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    value = value << 4 | static_cast<uint64_t>(digit);
  }
  return value <= kLargest ? std::optional(value) : std::nullopt;
}

bool is_authority(std::string_view text) {
  const size_t colon = port_colon(text);
  if (colon == std::string_view::npos) return is_host(text);
  const std::string_view port = text.substr(colon + 1);
  return is_host(text.substr(0, colon)) && (port.empty() || is_port(port));
}

bool is_authority_with_port(std::string_view text) {
  const size_t colon = port_colon(text);
  return colon != std::string_view::npos && is_host(text.substr(0, colon)) && is_port(text.substr(colon + 1));
}

namespace {

// Cuts a token or quoted string off the front; false when there is none.
bool take_token(std::string_view& text) {
  size_t n = 0;
  while (n < text.size() && (kByteClass[static_cast<uint8_t>(text[n])] & kTokenByte) != 0) ++n;
  text.remove_prefix(n);
  return n > 0;
}

bool take_quoted(std::string_view& text) {
  for (size_t i = 1; i < text.size(); ++i) {
    if ((kByteClass[static_cast<uint8_t>(text[i])] & kValueByte) == 0) return false;
    if (text[i] == '"') return text.remove_prefix(i + 1), true;
    if (text[i] == '\\') {
      ++i;
      if (i < text.size() && (kByteClass[static_cast<uint8_t>(text[i])] & kValueByte) == 0) return false;
    }
  }
  return false;
}

}  // namespace

bool is_chunk_extension(std::string_view text) {
  while (!text.empty()) {
    if (text.front() != ';') return false;
    text.remove_prefix(1);
    if (!take_token(text)) return false;
    if (text.empty() || text.front() != '=') continue;
    text.remove_prefix(1);
    if (!(text.starts_with('"') ? take_quoted(text) : take_token(text))) return false;
  }
  return true;
}

bool is_known_method(std::string_view method) {
  return std::find(kMethods.begin(), kMethods.end(), method) != kMethods.end();
}

bool begins_known_method(std::string_view bytes) {
  return std::any_of(kMethods.begin(), kMethods.end(),
                     [bytes](std::string_view method) { return method.starts_with(bytes); });
}

}  // namespace tapdeck::http
