// Bypass rules: flows that are tunnelled without being decrypted: host globs, IP, CIDR, each with an optional :port.
// Pure. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/endpoint.h"

namespace tapdeck::server {

// `host` is the SNI, or empty. A malformed rule matches nothing (config has refused it).
[[nodiscard]] bool bypass_matches(std::string_view rule, std::string_view host, const Endpoint& destination);
[[nodiscard]] bool any_bypass_matches(const std::vector<std::string>& rules, std::string_view host,
                                      const Endpoint& destination);

}  // namespace tapdeck::server
