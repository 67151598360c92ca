// Rules over several keys of one section: what no single value can be blamed for.
#include "daemon/base/endpoint.h"
#include "daemon/config/schema.h"

namespace tapdeck::config {

std::vector<std::string> broken_rules(const Proxy& proxy) {
  std::vector<std::string> broken;
  if (proxy.allow_remote && !proxy.allow.empty()) {
    broken.emplace_back("allow and allow_remote in [proxy] exclude each other: some clients, or all");
  }
  const auto listen = Endpoint::parse(proxy.listen);
  if (listen && !listen->is_loopback() && !proxy.allow_remote && proxy.allow.empty()) {
    broken.push_back("listen in [proxy]: " + proxy.listen +
                     " is not a loopback address, which would be an open proxy; name its clients with "
                     "allow = [\"10.0.0.0/8\"], or let everybody in with allow_remote = true");
  }
  return broken;
}

std::vector<std::string> broken_rules(const Tls& tls) {
  if (tls.ca_cert.empty() == tls.ca_key.empty()) return {};
  return {"ca_cert and ca_key in [tls] belong together: give both or none"};
}

std::vector<std::string> broken_rules(const Route& route) {
  std::vector<std::string> broken;
  if (route.path && route.path_prefix) {
    broken.emplace_back("path and path_prefix in [[routes]] exclude each other");
  }
  if (!route.upstream && (route.rewrite_path || !route.rewrite_host)) {
    broken.emplace_back("rewrite_host and rewrite_path in [[routes]] need an upstream");
  }
  return broken;
}

}  // namespace tapdeck::config
