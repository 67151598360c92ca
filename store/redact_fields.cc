#include "store/redact_fields.h"

#include <algorithm>
#include <array>

#include "daemon/http/message.h"

namespace tapdeck::store {
namespace {

using http::iequals;

struct Known {
  std::string_view name;
  FieldKind kind;
};
constexpr std::array kKnown = {
    Known{"referer", FieldKind::Url},
    Known{"location", FieldKind::Url},
    Known{"content-location", FieldKind::Url},
    Known{"destination", FieldKind::Url},
    // What proxies and frameworks make of the request's own target.
    Known{"x-original-url", FieldKind::Url},
    Known{"x-original-uri", FieldKind::Url},
    Known{"x-rewrite-url", FieldKind::Url},
    Known{"x-forwarded-uri", FieldKind::Url},
    Known{"x-envoy-original-path", FieldKind::Url},
    Known{"x-auth-request-redirect", FieldKind::Url},
    Known{"hx-current-url", FieldKind::Url},
    Known{"hx-redirect", FieldKind::Url},
    Known{"hx-push-url", FieldKind::Url},
    Known{"hx-replace-url", FieldKind::Url},
    Known{"link", FieldKind::Links},
    Known{"refresh", FieldKind::Refresh},
    Known{"sec-websocket-protocol", FieldKind::Protocols},
    Known{"cookie", FieldKind::Cookies},
    Known{"set-cookie", FieldKind::SetCookie},
};

// Most names are told by this to be none of these: one bit a length and first letter.
constexpr uint64_t bit_of(std::string_view name) {
  const char first = static_cast<char>(name.front() | 0x20);
  return 1ull << ((name.size() * 7 + static_cast<unsigned char>(first)) % 64);
}
constexpr uint64_t kBits = [] {
  uint64_t bits = 0;
  for (const Known& known : kKnown) bits |= bit_of(known.name);
  return bits;
}();

size_t skip(std::string_view text, size_t from, std::string_view what) {
  return std::min(text.find_first_not_of(what, from), text.size());
}

std::vector<FieldPiece> urls_of_links(std::string_view value) {
  std::vector<FieldPiece> out;
  for (size_t open = value.find('<'); open != std::string_view::npos; open = value.find('<', open + 1)) {
    const size_t close = std::min(value.find('>', open), value.size());
    out.push_back({open + 1, close - open - 1});
    open = close - 1;
  }
  return out;
}

// As browsers read it: seconds, then the URL with or without "url=", quoted or not.
std::vector<FieldPiece> url_of_refresh(std::string_view value) {
  const size_t mark = value.find_first_of(";,");
  if (mark == std::string_view::npos) return {};
  size_t begin = skip(value, mark + 1, " \t");
  if (iequals(value.substr(begin, 3), "url")) {
    const size_t equals = skip(value, begin + 3, " \t");
    if (equals < value.size() && value[equals] == '=') begin = skip(value, equals + 1, " \t");
  }
  size_t end = value.size();
  if (begin < end && (value[begin] == '"' || value[begin] == '\'')) {
    end = std::min(value.find(value[begin], begin + 1), end);
    ++begin;
  }
  return {{begin, end - begin}};
}

// Subprotocols after whose beginning a token comes: of Kubernetes, OpenAI and AWS AppSync, and what others made up.
constexpr std::array<std::string_view, 8> kBeforeToken = {"base64url.bearer.authorization.k8s.io.",
                                                          "openai-insecure-api-key.",
                                                          "header-",
                                                          "bearer.",
                                                          "bearer-",
                                                          "token.",
                                                          "access_token.",
                                                          "jwt."};
// And those that say that the next one is a token.
constexpr std::array<std::string_view, 9> kTokenFollows = {
    "bearer", "token", "access_token", "access-token", "authorization", "auth", "jwt", "api-key", "apikey"};

// A JSON web token: three parts, of which the first is an object in base64url.
bool is_jwt(std::string_view text) {
  return text.starts_with("eyJ") && std::ranges::count(text, '.') == 2;
}

// Where in a subprotocol its token begins; its size: there is none.
size_t token_in(std::string_view protocol, std::string_view before) {
  if (is_jwt(protocol)) return 0;
  const auto says = [](std::string_view text) {
    return [text](std::string_view known) { return iequals(known, text); };
  };
  if (std::ranges::any_of(kTokenFollows, says(before))) return 0;
  for (const std::string_view known : kBeforeToken) {
    if (iequals(protocol.substr(0, known.size()), known)) return known.size();
  }
  return protocol.size();
}

std::vector<FieldPiece> tokens_of_protocols(std::string_view value) {
  std::vector<FieldPiece> out;
  std::string_view before;
  for (size_t begin = 0; begin < value.size();) {
    const size_t end = std::min(value.find(',', begin), value.size());
    begin = std::min(skip(value, begin, " \t"), end);
    const size_t last = value.substr(begin, end - begin).find_last_not_of(" \t");
    const std::string_view protocol = value.substr(begin, last == std::string_view::npos ? 0 : last + 1);
    const size_t token = token_in(protocol, before);
    if (token < protocol.size()) out.push_back({begin + token, protocol.size() - token});
    before = protocol;
    begin = end + 1;
  }
  return out;
}

// RFC 6265, its drafts since, and what came before it.
constexpr std::array<std::string_view, 13> kCookieAttributes = {
    "path",        "domain",  "expires", "max-age",    "secure", "httponly", "samesite",
    "partitioned", "version", "comment", "commenturl", "port",   "discard"};

// Where what begins at `begin` ends: at a ';' that does not stand in quotes, which some take for the end and some not.
size_t cookie_end(std::string_view value, size_t begin) {
  const size_t equals = value.find_first_of("=;", begin);
  size_t quote = equals < value.size() && value[equals] == '=' ? skip(value, equals + 1, " \t") : value.size();
  if (quote < value.size() && value[quote] == '"') {
    size_t close = quote + 1;
    while (close < value.size() && value[close] != '"') close += value[close] == '\\' ? 2 : 1;
    if (close < value.size()) return std::min(value.find(';', close), value.size());
  }
  return std::min(value.find(';', begin), value.size());
}

// "Path=/", but not "Path=/, other=cookie", which is what some make of several fields.
bool is_cookie_attribute(std::string_view part) {
  const size_t equals = std::min(part.find('='), part.size());
  std::string_view name = part.substr(0, equals);
  name = name.substr(0, name.find_last_not_of(" \t") + 1);
  const std::string_view value = part.substr(equals);
  const bool is_known = std::ranges::any_of(kCookieAttributes, [&](auto known) { return iequals(known, name); });
  return is_known && value.find('=', std::min(value.find(','), value.size())) == std::string_view::npos;
}

std::vector<FieldPiece> values_of_cookies(FieldKind kind, std::string_view value) {
  constexpr size_t npos = std::string_view::npos;
  std::vector<FieldPiece> out;
  for (size_t begin = 0; begin < value.size();) {
    const bool is_first = begin == 0;
    const size_t next = cookie_end(value, begin);
    begin = std::min(skip(value, begin, " \t"), next);
    size_t end = begin + (value.substr(begin, next - begin).find_last_not_of(" \t") + 1);
    const bool stays =
        kind == FieldKind::SetCookie && !is_first && is_cookie_attribute(value.substr(begin, end - begin));
    const size_t equals = std::min(value.find('=', begin), end);
    // Without a name all of it is the value, which may be base64 with its padding.
    const bool is_padding = end > equals + 1 && value.substr(equals, end - equals).find_first_not_of('=') == npos;
    if (equals < end && !is_padding) begin = skip(value, equals + 1, " \t");
    if (end >= begin + 2 && value[begin] == '"' && value[end - 1] == '"') {
      ++begin;
      --end;
    }
    if (!stays && begin < end) out.push_back({begin, end - begin});
    begin = next + 1;
  }
  return out;
}

}  // namespace

FieldKind kind_of_field(std::string_view name) {
  if (name.empty() || (kBits & bit_of(name)) == 0) return FieldKind::Plain;
  const auto known = std::ranges::find_if(kKnown, [name](const Known& one) { return iequals(one.name, name); });
  return known == kKnown.end() ? FieldKind::Plain : known->kind;
}

std::vector<FieldPiece> pieces_of_field(FieldKind kind, std::string_view value) {
  switch (kind) {
    case FieldKind::Plain:
      return {};
    case FieldKind::Url:
      return {{0, value.size()}};
    case FieldKind::Links:
      return urls_of_links(value);
    case FieldKind::Refresh:
      return url_of_refresh(value);
    case FieldKind::Protocols:
      return tokens_of_protocols(value);
    case FieldKind::Cookies:
    case FieldKind::SetCookie:
      return values_of_cookies(kind, value);
  }
  return {};
}

}  // namespace tapdeck::store
