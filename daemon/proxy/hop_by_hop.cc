#include "daemon/proxy/hop_by_hop.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace tapdeck::proxy {

namespace {

constexpr std::array<std::string_view, 7> kAlways = {
    "connection",          "keep-alive",         "proxy-connection",         "te",
    "proxy-authorization", "proxy-authenticate", "proxy-authentication-info"};
constexpr std::array<std::string_view, 3> kNever = {"host", "content-length", "transfer-encoding"};

bool is_in(std::string_view name, const auto& names) {
  return std::ranges::any_of(names, [name](std::string_view one) { return http::iequals(name, one); });
}

std::vector<std::string> named_by_connection(const http::Headers& headers) {
  std::vector<std::string> names;
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!http::iequals(headers[i].name, "connection")) continue;
    std::string_view list = headers[i].value;
    while (!list.empty()) {
      const size_t comma = std::min(list.find(','), list.size());
      std::string_view token = list.substr(0, comma);
      while (token.starts_with(' ') || token.starts_with('\t')) token.remove_prefix(1);
      while (token.ends_with(' ') || token.ends_with('\t')) token.remove_suffix(1);
      if (!token.empty()) names.emplace_back(token);
      list.remove_prefix(std::min(comma + 1, list.size()));
    }
  }
  return names;
}

bool upgrades_with(const http::Headers& headers) {
  return headers.has_token("connection", "upgrade") && headers.find("upgrade").has_value();
}

// What may stay of Connection and TE.
struct Kept {
  bool trailers = false;   // "TE: trailers"
  std::string connection;  // empty: nothing
};

void strip(http::Headers& headers, const Kept& keep) {
  const std::vector<std::string> named = named_by_connection(headers);
  bool any = !keep.connection.empty() || !named.empty();
  for (size_t i = 0; i < headers.size() && !any; ++i) {
    any = is_in(headers[i].name, kAlways) || http::iequals(headers[i].name, "upgrade");
  }
  if (!any) return;  // the usual case: nothing to copy
  const bool upgrades = upgrades_with(headers);
  http::Headers kept;
  for (size_t i = 0; i < headers.size(); ++i) {
    const auto [name, value] = headers[i];
    if (http::iequals(name, "upgrade")) {
      if (upgrades) kept.add(name, value);
    } else if (http::iequals(name, "connection")) {
      if (!keep.connection.empty() && kept.count("connection") == 0) kept.add(name, keep.connection);
    } else if (http::iequals(name, "te")) {
      if (keep.trailers && kept.count("te") == 0) kept.add(name, "trailers");
    } else if (is_in(name, kNever) || (!is_in(name, kAlways) && !is_in(name, named))) {
      kept.add(name, value);
    }
  }
  if (!keep.connection.empty() && kept.count("connection") == 0) kept.add("Connection", keep.connection);
  headers = std::move(kept);
}

}  // namespace

void strip_hop_by_hop(http::RequestHead& request) {
  Kept keep;
  keep.trailers = request.headers.has_token("te", "trailers");
  if (upgrades_with(request.headers)) keep.connection = "Upgrade";
  if (keep.trailers && request.version != http::Version::Http2) {
    keep.connection += keep.connection.empty() ? "TE" : ", TE";
  }
  strip(request.headers, keep);
}

void strip_hop_by_hop(http::ResponseHead& response) {
  Kept keep;
  if (upgrades_with(response.headers)) keep.connection = "Upgrade";
  strip(response.headers, keep);
}

}  // namespace tapdeck::proxy
