#include "daemon/exchange/flow.h"

namespace tapdeck::exchange {

std::string UpstreamRoute::to_string() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string CapturedFlow::destination_text() const {
  return route != nullptr ? route->to_string() : destination.to_string();
}

}  // namespace tapdeck::exchange
