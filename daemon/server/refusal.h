// What an h1 client is told when its request cannot become an exchange: status, JSON, and that the connection ends.
// Pure. Thread: any.
#pragma once

#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"

namespace tapdeck::server {

// A whole response, ready to be written. `destination` is where the client wanted to go.
[[nodiscard]] std::string refusal(const Error& error, const Endpoint& destination);

}  // namespace tapdeck::server
