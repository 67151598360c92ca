#include "daemon/upstream/bound_auth.h"

#include <algorithm>
#include <array>

namespace tapdeck::upstream {

namespace {

constexpr std::array<std::string_view, 2> kSchemes = {"NTLM", "Negotiate"};

bool begins_with_scheme(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  const std::string_view scheme = text.substr(0, text.find_first_of(" \t,"));
  return std::ranges::any_of(kSchemes, [scheme](std::string_view bound) { return http::iequals(scheme, bound); });
}

// Several challenges may share a field. What looks like one inside a quoted string costs a connection of its own.
bool offers_scheme(std::string_view challenges) {
  while (!challenges.empty()) {
    const size_t comma = std::min(challenges.find(','), challenges.size());
    if (begins_with_scheme(challenges.substr(0, comma))) return true;
    challenges.remove_prefix(std::min(comma + 1, challenges.size()));
  }
  return false;
}

}  // namespace

bool has_bound_credentials(const http::RequestHead& request) {
  for (size_t i = 0; i < request.headers.size(); ++i) {
    const auto [name, value] = request.headers[i];
    const bool is_named = http::iequals(name, "authorization") || http::iequals(name, "proxy-authorization");
    if (is_named && begins_with_scheme(value)) return true;
  }
  return false;
}

bool is_bound_challenge(const http::ResponseHead& response) {
  if (response.status != 401 && response.status != 407) return false;
  for (size_t i = 0; i < response.headers.size(); ++i) {
    const auto [name, value] = response.headers[i];
    const bool is_named = http::iequals(name, "www-authenticate") || http::iequals(name, "proxy-authenticate");
    if (is_named && offers_scheme(value)) return true;
  }
  return false;
}

}  // namespace tapdeck::upstream
