#include "daemon/server/bypass.h"

#include "daemon/config/bypass.h"

namespace tapdeck::server {

bool bypass_matches(std::string_view rule, std::string_view host, const Endpoint& destination) {
  const auto parsed = config::BypassRule::parse(rule);
  return parsed && parsed->matches(host, destination);
}

bool any_bypass_matches(const std::vector<std::string>& rules, std::string_view host, const Endpoint& destination) {
  for (const std::string& rule : rules) {
    if (bypass_matches(rule, host, destination)) return true;
  }
  return false;
}

}  // namespace tapdeck::server
