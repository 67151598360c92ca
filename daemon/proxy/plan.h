// Plan: what a request to the explicit listener asks for: where it goes and how its head reads there, or why it is
// refused. Absolute-form targets go where they say, origin-form ones where a [[routes]] entry with an `upstream` says.
//
// CONNECT is not planned here: it is about the connection (server/connect.cc). Pure. Thread: any.
#pragma once

#include <functional>
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

// Our explicit listener is there.
using IsProxy = std::function<bool(const Endpoint&)>;

// OwnAnswer: a request that may not be passed on, answered by the proxy in every mode.
using Plan = std::variant<Forwarded, Refused, OwnAnswer>;

// `is_proxy`: over HTTP/2 a request to us looks as one through us; what names our listener by its address, or as
// localhost, is one to us.
[[nodiscard]] Plan plan_request(const http::RequestHead& request, const std::vector<config::Route>& routes,
                                std::string_view target_name, const IsProxy& is_proxy);

}  // namespace tapdeck::proxy
