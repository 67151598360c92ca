#include "store/redact.h"

#include <algorithm>
#include <ranges>

#include "daemon/base/ascii.h"
#include "daemon/base/result.h"
#include "store/redact_fields.h"

namespace tapdeck::store {
namespace {

constexpr std::string_view kPrefix = "[redacted:";
// So often is a URL encoded into the value of another one and looked into; each time costs the length of the value.
constexpr int kUrlInUrl = 2;
constexpr size_t kPlaceholderSize = 10 + 8 + 1;

bool is_placeholder(std::string_view value) {
  return value.size() == kPlaceholderSize && value.starts_with(kPrefix) && value.back() == ']' &&
         value.substr(kPrefix.size(), 8).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The name of a query parameter as an application reads it; a broken escape stays as it is.
std::string decode_name(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return out;
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// In front of a word, or the end of an escape as a query ("%22") or JSON ("\n", "\u0022") have them.
bool ends_before_word(std::string_view before) {
  if (before.empty() || !is_alphanumeric(before.back())) return true;
  const auto is_escape = [before](size_t size, std::string_view begin) {
    return before.size() >= size && before.substr(before.size() - size).starts_with(begin);
  };
  return is_escape(3, "%") || is_escape(2, "\\") || is_escape(6, "\\u");
}

bool holds_word(std::string_view text, std::string_view word) {
  if (word.empty()) return false;
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const std::string_view behind = text.substr(at + word.size());
    if (ends_before_word(text.substr(0, at)) && (behind.empty() || !is_alphanumeric(behind.front()))) return true;
  }
  return false;
}

// What may stand before a name: some applications take ';' for '&', and a value or fragment may be a URL of its own.
constexpr std::string_view kNameBegins = ";?#/!";

// User information is in no query without one of these: an '@' as it is, or encoded however often.
bool may_hold_user(std::string_view query) {
  return query.contains('@') || query.contains("40");
}

// Where "user:password@host" begins behind the "//" of a URL, which stands anywhere in `text`, or of a reference
// without scheme, which is all of a value; npos: nowhere.
size_t user_in(std::string_view text) {
  if (!text.contains('@')) return std::string_view::npos;
  for (size_t slashes = text.find("//"); slashes != std::string_view::npos; slashes = text.find("//", slashes + 1)) {
    const size_t begin = slashes + 2;
    const size_t size = std::min(text.find_first_of("/?#", begin), text.size()) - begin;
    const bool is_authority = slashes == 0 || text[slashes - 1] == ':' || text[slashes - 1] == '=';
    if (is_authority && text.substr(begin, size).contains('@')) return begin;
  }
  return std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

Redactor::Redactor(const RedactOptions& options, const Secret& secret) : hasher_(secret), query_(options.query) {
  headers_ = {"authorization", "proxy-authorization", "cookie", "set-cookie"};
  for (const auto& name : options.headers) headers_.push_back(lowered(name));
  for (const auto& name : headers_) header_sizes_ |= 1ull << (name.size() % 64);
}

bool Redactor::is_secret_header(std::string_view name) const {
  if ((header_sizes_ >> (name.size() % 64) & 1) == 0) return false;
  return std::ranges::any_of(headers_, [name](const auto& secret) { return http::iequals(secret, name); });
}

std::string Redactor::placeholder(std::string_view value) const {
  return std::string(kPrefix) + to_hex(hasher_.of(value)).substr(0, 8) + "]";
}

bool Redactor::is_secret_name(std::string_view encoded) const {
  const std::string decoded = decode_name(encoded);
  const std::string_view name = trimmed(decoded);
  // token[] and token[x] are what forms make of an array.
  const std::string_view stem = name.substr(0, name.find('['));
  return std::ranges::any_of(
      query_, [&](const auto& known) { return http::iequals(known, name) || http::iequals(known, stem); });
}

// Where the value of a named parameter begins; npos: there is none.
size_t Redactor::named_value_in(std::string_view pair) const {
  if (query_.empty()) return std::string_view::npos;
  for (size_t begin = 0; begin < pair.size();) {
    const size_t end = std::min(pair.find_first_of(kNameBegins, begin), pair.size());
    const std::string_view part = pair.substr(begin, end - begin);
    const size_t equals = part.find('=');
    if (equals != std::string_view::npos && is_secret_name(part.substr(0, equals))) return begin + equals + 1;
    begin = end + 1;
  }
  return std::string_view::npos;
}

// A secret goes to the end of the pair, since others have in their values what may also begin a name.
size_t Redactor::secret_in(std::string_view pair, int depth) const {
  const size_t plain = std::min(named_value_in(pair), user_in(pair));
  if (plain != std::string_view::npos) return plain;
  // A URL as a value, which is encoded there: ?next=%2Fcallback%3Ftoken%3D...
  const size_t equals = pair.find('=');
  const size_t begin = equals == std::string_view::npos ? 0 : equals + 1;
  if (depth == kUrlInUrl || pair.find('%', begin) == std::string_view::npos) return std::string_view::npos;
  const std::string value = decode_name(pair.substr(begin));
  if (user_in(value) != std::string_view::npos) return begin;  // a password may have the '&' of the next line in it
  for (const auto part : std::views::split(value, '&')) {
    if (secret_in(std::string_view(part.begin(), part.end()), depth + 1) != std::string_view::npos) return begin;
  }
  return std::string_view::npos;
}

uint64_t Redactor::redact_query(std::string& query) const {
  if (query.empty() || (query_.empty() && !may_hold_user(query))) return 0;
  uint64_t replaced = 0;
  std::string out;
  std::string_view rest = query;
  while (true) {
    const auto end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    const size_t value = secret_in(pair);
    if (value != std::string_view::npos && !is_placeholder(pair.substr(value))) {
      out += pair.substr(0, value);
      out += placeholder(pair.substr(value));
      ++replaced;
    } else {
      out += pair;
    }
    if (end == std::string_view::npos) break;
    out += '&';
    rest.remove_prefix(end + 1);
  }
  if (replaced != 0) query = std::move(out);
  return replaced;
}

uint64_t Redactor::redact_authority(std::string& url, size_t begin) const {
  const auto end = std::min(url.find_first_of("/?#", begin), url.size());
  const auto at = std::string_view(url).substr(0, end).rfind('@');
  if (at == std::string::npos || at < begin) return 0;
  const auto user = std::string_view(url).substr(begin, at - begin);
  if (is_placeholder(user)) return 0;
  url.replace(begin, at - begin, placeholder(user));
  return 1;
}

uint64_t Redactor::redact_reference(std::string& reference) const {
  // As browsers and RFC 3986 4.2 read it; as a request target it is a path.
  const uint64_t replaced = reference.starts_with("//") ? redact_authority(reference, 2) : 0;
  return replaced + redact_target(reference);
}

uint64_t Redactor::redact_target(std::string& target) const {
  uint64_t replaced = 0;
  // absolute-form with user information: http://user:password@host/
  const auto scheme = target.find("://");
  if (scheme != std::string::npos && scheme < target.find_first_of("/?#"))
    replaced += redact_authority(target, scheme + 3);
  const auto mark = target.find_first_of("?#");
  if (mark == std::string::npos) return replaced;
  // Query and fragment each; an implicit grant (RFC 6749 4.2.2) puts its token into the latter.
  const auto hash = std::min(target.find('#', mark), target.size());
  std::string query = target.substr(mark + 1, hash > mark ? hash - mark - 1 : 0);
  std::string fragment = hash < target.size() ? target.substr(hash + 1) : std::string();
  const uint64_t hidden = redact_query(query) + redact_query(fragment);
  if (hidden == 0) return replaced;
  const bool has_query = hash > mark, has_fragment = hash < target.size();
  target.resize(mark);
  if (has_query) target += '?' + query;
  if (has_fragment) target += '#' + fragment;
  return replaced + hidden;
}

uint64_t Redactor::redact_value(std::string_view name, std::string& value) const {
  const FieldKind kind = kind_of_field(name);
  const bool is_cookie = kind == FieldKind::Cookies || kind == FieldKind::SetCookie;
  if (!is_cookie && is_secret_header(name)) {
    if (is_placeholder(value)) return 0;
    value = placeholder(value);
    return 1;
  }
  uint64_t replaced = 0;
  for (const auto& [begin, size] : std::views::reverse(pieces_of_field(kind, value))) {
    std::string piece = value.substr(begin, size);
    if (!is_cookie && kind != FieldKind::Protocols) {
      const uint64_t hidden = redact_reference(piece);
      if (hidden == 0) continue;
      replaced += hidden;
    } else if (is_placeholder(piece)) {
      continue;
    } else {
      piece = placeholder(piece);
      ++replaced;
    }
    value.replace(begin, size, piece);
  }
  return replaced;
}

std::vector<Cookie> Redactor::cookies_of(const http::Headers& headers) {
  std::vector<Cookie> out;
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!http::iequals(headers[i].name, "cookie")) continue;
    const std::string_view field = headers[i].value;
    for (const FieldPiece piece : pieces_of_field(FieldKind::Cookies, field)) {
      const std::string_view before = field.substr(0, piece.begin);
      const std::string_view pair = before.substr(before.rfind(';') + 1);
      out.push_back({http::trim_ows(pair.substr(0, pair.find('='))), field.substr(piece.begin, piece.size)});
    }
  }
  return out;
}

bool Redactor::names_secret(std::string_view text) const {
  if (query_.empty()) return false;
  const std::string lower = lowered(text);
  return std::ranges::any_of(query_, [&lower](const std::string& name) { return holds_word(lower, lowered(name)); });
}

uint64_t Redactor::redact_headers(http::Headers& headers) const {
  const auto touches = [this](std::string_view name) {
    return is_secret_header(name) || kind_of_field(name) != FieldKind::Plain;
  };
  bool any = false;
  for (size_t i = 0; i < headers.size() && !any; ++i) any = touches(headers[i].name);
  if (!any) return 0;
  uint64_t replaced = 0;
  http::Headers out;
  for (size_t i = 0; i < headers.size(); ++i) {
    const auto [name, value] = headers[i];
    if (!touches(name)) {
      out.add(name, value);
      continue;
    }
    std::string kept(value);
    replaced += redact_value(name, kept);
    out.add(name, kept);
  }
  if (replaced != 0) headers = std::move(out);
  return replaced;
}

RedactionCounts Redactor::redact(Recording& recording) const {
  RedactionCounts counts;
  counts.uri = redact_target(recording.request.target);
  counts.headers = redact_headers(recording.request.headers) + redact_headers(recording.response.headers);
  for (auto& head : recording.informational) counts.headers += redact_headers(head.headers);
  counts.trailers = redact_headers(recording.request_trailers) + redact_headers(recording.response_trailers);
  return counts;
}

void Redactor::redact(KeyParts& parts) const {
  ignore(redact_query(parts.query), "the requester is told, not counted");
  ignore(redact_headers(parts.fields), "as above");
}

}  // namespace tapdeck::store
