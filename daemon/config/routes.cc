#include "daemon/config/routes.h"

#include "daemon/base/glob.h"

namespace tapdeck::config {

bool fits(const Route& route, const RouteFacts& facts) {
  if (route.host && !glob_match(*route.host, facts.host)) return false;
  if (route.port && *route.port != facts.port) return false;
  if (route.scheme && *route.scheme != facts.scheme) return false;
  if (route.path && *route.path != facts.path) return false;
  if (route.path_prefix && !facts.path.starts_with(*route.path_prefix)) return false;
  if (route.method && *route.method != facts.method) return false;
  return !route.target || *route.target == facts.target_name;
}

}  // namespace tapdeck::config
