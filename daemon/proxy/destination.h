// Destination: the host and port that a client of the explicit proxy names, in CONNECT or in an absolute-form target.
// Pure. Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/exchange/flow.h"

namespace tapdeck::proxy {

struct Destination {
  std::string host;  // lower case, without brackets
  uint16_t port = 0;
  // Set when `host` is an IP (a v4-mapped one as the IPv4 it is); else only its port.
  Endpoint endpoint;

  // "host", "host:port", "[v6]:port". `default_port` 0: the port must be there. Protocol, origin Downstream, else.
  [[nodiscard]] static Result<Destination> parse(std::string_view authority, uint16_t default_port);
  // Points `flow` there.
  void apply(exchange::CapturedFlow& flow, exchange::UpstreamRoute route) const;
};

}  // namespace tapdeck::proxy
