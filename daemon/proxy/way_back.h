// How a client's paths read at the upstream of a reverse route, and the upstream's own URLs to the client: who follows
// a redirect stays with us, recorded and replayed. Plain values. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/config/config.h"
#include "daemon/config/upstream_url.h"
#include "daemon/http/message.h"

namespace tapdeck::proxy {

// The path and query that the upstream of `route` is asked for.
[[nodiscard]] std::string rewritten_target(const config::Route& route, std::string_view target);

struct WayBack {
  // Same: the route is of one path, and leads to no other.
  enum class Paths { Below, Same };

  // What the upstream's own URLs name: itself, or where it is told the client's Host and other paths, that; in lower
  // case, without brackets. Empty: they stay.
  std::string scheme, host;
  uint16_t port = 0;
  std::string client;                    // "http://localhost:8080", as the request said; empty: it named no host
  std::string prefix;                    // of the client's paths
  std::optional<std::string> rewritten;  // what stands for it upstream; nullopt: paths stay
  Paths paths = Paths::Below;

  // For a request as it came; `upstream` is the route's.
  [[nodiscard]] static WayBack of(const config::Route& route, const config::UpstreamUrl& upstream,
                                  const http::RequestHead& request);
  // The value of a Location or Content-Location. nullopt: it stays, as it names another origin, a path that no request
  // of the route leads to, or is relative to the client's own.
  [[nodiscard]] std::optional<std::string> location(std::string_view value) const;
  // Both fields.
  void apply(http::Headers& headers) const;

 private:
  [[nodiscard]] std::optional<std::string> path(std::string_view upstream) const;
};

}  // namespace tapdeck::proxy
