// Which requests a [[routes]] entry is about. Not what it says of them, and not which entries a caller asks: what is
// special about an `upstream` is theirs. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/config/config.h"

namespace tapdeck::config {

// What a route's conditions are compared with. Of a connection that has no request yet: path and method empty.
struct RouteFacts {
  Scheme scheme = Scheme::Http;
  std::string_view host;  // any case, no port; empty fits no condition but "*"
  uint16_t port = 0;      // of the original destination
  std::string_view path;  // as the client sent it, without query
  std::string_view method;
  std::string_view target_name;
};

// All conditions of `route` hold.
[[nodiscard]] bool fits(const Route& route, const RouteFacts& facts);

}  // namespace tapdeck::config
