#include "daemon/config/upstream_url.h"

#include <charconv>

#include "daemon/base/endpoint.h"

namespace tapdeck::config {

namespace {

constexpr std::string_view kExample = "for example \"http://api.internal:8080\", \"https://...\" or \"h2c://...\"";
constexpr std::string_view kHostBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

Result<UpstreamUrl> UpstreamUrl::parse(std::string_view text) {
  const auto wrong = [](std::string_view what) {
    return fail(Code::InvalidArgument, std::string(what) + ", " + std::string(kExample));
  };
  UpstreamUrl url;
  std::string_view rest = text;
  if (take_prefix(rest, "https://")) {
    url.scheme = Scheme::Https;
  } else if (take_prefix(rest, "h2c://")) {
    url.scheme = Scheme::H2c;
  } else if (!take_prefix(rest, "http://")) {
    return wrong("begins with no known scheme");
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#@") != std::string_view::npos) {
    return wrong("has more than host and port (paths are changed by rewrite_path)");
  }
  const uint16_t own_port = url.scheme == Scheme::Https ? 443 : 80;
  url.port = own_port;
  url.authority = rest;
  if (const size_t colon = rest.rfind(':'); colon != std::string_view::npos && !rest.ends_with(']')) {
    const std::string_view digits = rest.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), url.port);
    if (error != std::errc() || end != digits.data() + digits.size() || url.port == 0)
      return wrong("has no valid port");
    rest = rest.substr(0, colon);
    if (url.port == own_port) url.authority = rest;
  }
  const bool brackets = rest.size() > 2 && rest.starts_with('[') && rest.ends_with(']');
  if (brackets) rest = rest.substr(1, rest.size() - 2);
  const bool valid =
      brackets ? Endpoint::parse(rest).has_value() && rest.contains(':')
               : !rest.empty() && rest.size() <= 253 && rest.find_first_not_of(kHostBytes) == std::string_view::npos;
  if (!valid) return wrong("has no valid host");
  url.host = rest;
  return url;
}

}  // namespace tapdeck::config
