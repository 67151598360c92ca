#include "daemon/server/sniff.h"

#include <algorithm>
#include <utility>

#include "daemon/http/h1_syntax.h"
#include "daemon/http/message.h"

namespace tapdeck::server {

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// Longer than any registered method (UPDATEREDIRECTREF has 17). For longer ones, and other bytes: sniff_three_words().
constexpr size_t kMaxMethod = 24;
// A first line is waited for until it is this long; then its beginning has to do. Nothing behind is looked at, or what
// comes in one piece would be judged by more than what comes in many.
constexpr size_t kMaxFirstLine = 8192;

bool is_method_byte(char byte) {
  return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '_';
}

bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}

bool begins_with(std::string_view text, std::string_view what) {
  return http::iequals(text.substr(0, what.size()), what);
}

bool is_authority(std::string_view word) {
  const size_t colon = word.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == word.size()) return false;
  return std::ranges::all_of(word.substr(colon + 1), is_digit) &&
         word.find_first_of("{}\"/,;=") == std::string_view::npos;
}

// As far as it goes, `rest` (what follows the method) begins as a target does: origin-form, absolute-form, '*', and for
// CONNECT authority-form (RFC 9112 3.2).
bool begins_as_target(std::string_view method, std::string_view rest) {
  const std::string_view word = rest.substr(0, rest.find_first_of(" \t\r\n"));
  return word.starts_with('/') || word == "*" || begins_with(word, "http://") || begins_with(word, "https://") ||
         (http::iequals(method, "CONNECT") && is_authority(word));
}

// A version of HTTP stands where it belongs, or where a lenient origin would find it: third, or at the end.
bool names_http(std::string_view line, size_t target) {
  const size_t last = line.find_last_not_of(" \t\r");
  line = line.substr(0, last + 1);
  const std::string_view end = line.substr(line.size() - std::min<size_t>(line.size(), 8));
  if (begins_with(end, "HTTP/") && end.size() == 8 && is_digit(end[5]) && end[6] == '.' && is_digit(end[7]))
    return true;
  const size_t third = line.find_first_not_of(" \t", line.find_first_of(" \t", target));
  return third != std::string_view::npos && begins_with(line.substr(third), "HTTP/");
}

// Three words in capitals and an empty line: the shape of HTTP/2's preface. One that is not "PRI * HTTP/2.0" is no
// other protocol's beginning that we know of, and its connection has to be closed (RFC 9113 3.4). NeedMore: the empty
// line may come yet.
Protocol sniff_preface_shape(std::string_view bytes, size_t end) {
  const std::string_view line = bytes.substr(0, end);
  const bool has_shape = line.ends_with('\r') && std::ranges::count(line, ' ') == 2 &&
                         std::ranges::all_of(line.substr(0, line.size() - 1),
                                             [](char byte) { return (byte >= 'A' && byte <= 'Z') || byte == ' '; });
  if (!has_shape) return Protocol::Opaque;
  const std::string_view rest = bytes.substr(end + 1);
  if (rest.starts_with("\r\n")) return Protocol::Http1;
  return std::string_view("\r\n").starts_with(rest) ? Protocol::NeedMore : Protocol::Opaque;
}

// As far as it goes.
bool begins_as_version(std::string_view text) {
  constexpr std::string_view kShape = "HTTP/0.0\r";
  return text.size() <= kShape.size() && std::ranges::equal(text, kShape.substr(0, text.size()), [](char a, char b) {
           return b == '0' ? is_digit(a) : a == b;
         });
}

// Two words that are anything, the first one from a byte of tokens on, and a version of HTTP. NeedMore: it may become
// that. Other protocols end this soon, but for those whose first words are long, or all they say.
Protocol sniff_three_words(std::string_view bytes) {
  if (!http::is_token(bytes.substr(0, 1))) return Protocol::Opaque;
  const size_t end = bytes.find('\n');
  const Protocol unfinished = end == std::string_view::npos ? Protocol::NeedMore : Protocol::Opaque;
  std::string_view rest = bytes.substr(0, end);
  for (int word = 0; word < 2; ++word) {
    const size_t space = std::min(rest.find(' '), rest.size());
    const bool is_word = http::all_bytes(rest.substr(0, space), http::kTargetByte);
    if (!is_word || (space == 0 && !rest.empty())) return Protocol::Opaque;
    if (space == rest.size()) return unfinished;
    rest.remove_prefix(space + 1);
  }
  if (!begins_as_version(rest)) return Protocol::Opaque;
  const bool is_whole = end != std::string_view::npos && rest.size() >= 8;
  return is_whole ? Protocol::Http1 : unfinished;
}

void hold_for_method(Sniffed& found) {
  found.nearest = Protocol::Http1;
  found.is_in_method = true;
}

// RTSP, SIP, IRC and many more begin with a word, a space and something else as well: the whole line tells. One that
// ends in HTTP is for the parsers to refuse, whatever else is wrong with it.
Sniffed sniff_request_line(std::string_view bytes) {
  Sniffed found;
  size_t method = 0;
  while (method < bytes.size() && method <= kMaxMethod && is_method_byte(bytes[method])) ++method;
  found.nearest = Protocol::Opaque;
  if (method == bytes.size()) {
    if (http::begins_known_method(bytes)) hold_for_method(found);
    return found;
  }
  if (method == 0 || method > kMaxMethod || bytes[method] != ' ') {
    found.protocol = sniff_three_words(bytes);
    return found;
  }
  found.protocol = Protocol::Opaque;
  const size_t target = bytes.find_first_not_of(' ', method);
  if (target == std::string_view::npos) {
    found.protocol = Protocol::NeedMore;
    if (http::is_known_method(bytes.substr(0, method))) hold_for_method(found);
    return found;
  }
  const auto first = static_cast<unsigned char>(bytes[target]);
  if (first < 0x20 || first >= 0x7f) return found;
  if (begins_as_target(bytes.substr(0, method), bytes.substr(target))) found.nearest = Protocol::Http1;
  const size_t end = bytes.find('\n');
  const std::string_view line = bytes.substr(0, end);
  // To some a CR alone is the end of a line. The first one only: a look at each would let a client that sends nothing
  // else cost as much as the square of what it sends.
  const size_t cr = line.find('\r');
  if (cr != std::string_view::npos && names_http(line.substr(0, cr), target)) {
    found.protocol = Protocol::Http1;
  } else if (end == std::string_view::npos) {
    found.protocol = Protocol::NeedMore;
  } else {
    found.protocol = names_http(line, target) ? Protocol::Http1 : sniff_preface_shape(bytes, end);
  }
  return found;
}

}  // namespace

Sniffed sniff_clear(std::string_view bytes) {
  Sniffed found;
  const bool is_long = bytes.size() > kMaxFirstLine;
  bytes = bytes.substr(0, kMaxFirstLine);
  // Empty lines before a request are tolerated (RFC 9112 2.2).
  while (bytes.starts_with("\r\n")) bytes.remove_prefix(2);
  if (bytes.starts_with(kPreface)) {
    found.protocol = Protocol::Http2;
    return found;
  }
  if (bytes == "\r" || bytes.empty()) {
    hold_for_method(found);
  } else if (kPreface.starts_with(bytes)) {
    if (http::begins_known_method(bytes)) hold_for_method(found);
  } else {
    found = sniff_request_line(bytes);
  }
  if (is_long && found.protocol == Protocol::NeedMore) {
    const bool is_request = found.nearest == Protocol::Http1 && !found.is_in_method;
    found.protocol = is_request ? Protocol::Http1 : Protocol::Opaque;
  }
  return found;
}

Sniffed sniff(std::string_view bytes) {
  Sniffed result;
  if (bytes.empty()) return result;
  tls::Peek peek = tls::peek_client_hello(bytes);
  switch (peek.verdict) {
    case tls::Peek::Verdict::NeedMore:
      return result;
    case tls::Peek::Verdict::Hello:
      result.protocol = Protocol::Tls;
      result.hello = std::move(peek.hello);
      return result;
    case tls::Peek::Verdict::Malformed:
      result.protocol = Protocol::Opaque;
      return result;
    case tls::Peek::Verdict::NotTls:
      return sniff_clear(bytes);
  }
  return result;
}

}  // namespace tapdeck::server
