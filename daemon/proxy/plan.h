// Plan: what a request to the explicit listener asks for: where it goes and how its head reads there, or why it is
// refused. Absolute-form targets go where they say, origin-form ones where a [[routes]] entry with an `upstream` says.
//
// CONNECT is not planned here: it is about the connection (server/connect.cc). Pure. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/exchange/flow.h"
#include "daemon/http/message.h"
#include "daemon/proxy/destination.h"
#include "daemon/proxy/max_forwards.h"
#include "daemon/proxy/way_back.h"

namespace tapdeck::proxy {

struct Forwarded {
  Destination destination;
  exchange::UpstreamRoute route;  // host and port are the destination's
  http::RequestHead head;         // origin-form, without hop-by-hop fields
  std::optional<WayBack> back;    // of reverse routes
};

struct Refused {
  int status = 404;
  std::string error;  // stable name
  std::string detail;
};

// OwnAnswer: a request that may not be passed on, answered by the proxy in every mode.
using Plan = std::variant<Forwarded, Refused, OwnAnswer>;

[[nodiscard]] Plan plan_request(const http::RequestHead& request, const std::vector<config::Route>& routes,
                                std::string_view target_name);

}  // namespace tapdeck::proxy
