// Rules over several keys or sections: what no single value can be blamed for.
#include <algorithm>

#include "daemon/base/endpoint.h"
#include "daemon/base/units.h"
#include "daemon/config/field_path.h"
#include "daemon/config/problems.h"
#include "daemon/config/schema.h"

namespace tapdeck::config {
namespace {

std::optional<Broken> unnumbered_field(const std::optional<Grpc>& grpc) {
  if (!grpc || !grpc->proto_files.empty()) return std::nullopt;
  for (const std::string& field : grpc->match_fields) {
    if (FieldPath::parse(field)->is_numeric()) continue;
    return Broken{
        "grpc",
        in_quotes(field) + " in match_fields of [routes.grpc] is a name; give proto_files, or the number of the field"};
  }
  return std::nullopt;
}

template <class T>
bool is_name_taken(const std::vector<T>& all) {
  return std::any_of(all.begin(), all.end() - 1, [&](const T& one) { return one.name == all.back().name; });
}

}  // namespace

std::vector<Broken> broken_rules(const Proxy& proxy) {
  std::vector<Broken> broken;
  if (proxy.allow_remote && !proxy.allow.empty()) {
    broken.push_back({"allow", "allow and allow_remote in [proxy] exclude each other: some clients, or all"});
  }
  const auto listen = Endpoint::parse(proxy.listen);
  if (listen && !listen->is_loopback() && !proxy.allow_remote && proxy.allow.empty()) {
    broken.push_back({"listen", "listen in [proxy]: " + proxy.listen +
                                    " is not a loopback address, which would be an open proxy; name its clients with "
                                    "allow = [\"10.0.0.0/8\"], or let everybody in with allow_remote = true"});
  }
  return broken;
}

std::vector<Broken> broken_rules(const Tls& tls) {
  if (tls.ca_cert.empty() == tls.ca_key.empty()) return {};
  return {{"", "ca_cert and ca_key in [tls] belong together: give both or none"}};
}

std::vector<Broken> broken_rules(const Route& route) {
  std::vector<Broken> broken;
  if (route.path && route.path_prefix) {
    broken.push_back({"path", "path and path_prefix in [[routes]] exclude each other"});
  }
  if (!route.upstream && (route.rewrite_path || !route.rewrite_host)) {
    broken.push_back({"", "rewrite_host and rewrite_path in [[routes]] need an upstream"});
  }
  if (route.upstream && route.target && *route.target != kProxyTarget) {
    broken.push_back({"target",
                      "target in [[routes]]: a route with an upstream is for clients of proxy.listen, which are the "
                      "target 'explicit'; leave target out"});
  }
  const bool by_request = route.path || route.path_prefix || route.method;
  if (!route.upstream && route.scheme == Scheme::Https && route.upstream_http != UpstreamHttp::Auto && by_request) {
    broken.push_back({"upstream_http",
                      "upstream_http in [[routes]] with scheme = \"https\": what TLS connections speak is settled "
                      "before there is a request, so leave path, path_prefix and method out; host and port may stay"});
  }
  if (auto field = unnumbered_field(route.grpc)) broken.push_back(std::move(*field));
  return broken;
}

std::vector<Broken> take_in(std::vector<Target>& targets) {
  Target& last = targets.back();
  if (last.name.empty()) last.name = name_of_selector(last.selector);
  if (last.name == kProxyTarget) {
    return {
        {"name", "a target cannot be called 'explicit', which the clients of proxy.listen are; give it another name"}};
  }
  if (last.name.empty() || !is_name_taken(targets)) return {};
  return {{"name", "two targets are named " + in_quotes(last.name) + "; give one a name of its own"}};
}

std::vector<Broken> take_in(std::vector<Route>& routes) {
  Route& last = routes.back();
  if (last.name.empty()) last.name = "route " + std::to_string(routes.size());
  if (!is_name_taken(routes)) return {};
  return {{"name", "two routes are named " + in_quotes(last.name) + "; give one a name of its own"}};
}

std::vector<Doubt> doubts(const Config& config) {
  std::vector<Doubt> out;
  std::vector<std::string_view> targets = {kProxyTarget, kRunTarget};
  for (const Target& target : config.targets) targets.emplace_back(target.name);
  for (size_t i = 0; i < config.routes.size(); ++i) {
    const Route& route = config.routes[i];
    if (route.target && std::ranges::find(targets, *route.target) == targets.end()) {
      const std::string_view near = nearest(*route.target, targets);
      out.push_back({i,
                     {"target", "target in [[routes]]: no [[targets]] is called " + in_quotes(*route.target) +
                                    (near.empty() ? "; nothing matches until one is attached"
                                                  : "; did you mean " + in_quotes(near) + "?")}});
    }
    for (const auto& [key, path] : {std::pair{"path", route.path}, std::pair{"path_prefix", route.path_prefix}}) {
      if (!path || !path->contains('*')) continue;
      out.push_back({i,
                     {key, std::string(key) + " in [[routes]]: '*' stands for itself here; path_prefix = \"" +
                               path->substr(0, path->find('*')) + "\" is all that begins so"}});
    }
    if (route.upstream && (config.proxy.listen.empty() || config.proxy.listen == "off")) {
      out.push_back({i,
                     {"upstream",
                      "upstream in [[routes]]: proxy.listen is off, so nobody can ask for it; give it an address, "
                      "for example listen = \"127.0.0.1:8080\""}});
    }
  }
  return out;
}

}  // namespace tapdeck::config
