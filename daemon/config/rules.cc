// Rules over several keys or sections: what no single value can be blamed for.
#include <algorithm>

#include "daemon/base/endpoint.h"
#include "daemon/base/units.h"
#include "daemon/config/field_path.h"
#include "daemon/config/problems.h"
#include "daemon/config/schema.h"
#include "daemon/config/upstream_url.h"

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

// A selector in the one of its spellings that is compared: what ends at the same cgroup, unit or process is the same.
std::string plain_selector(const Target& target) {
  std::string text = target.selector;
  if (target.kind == TargetKind::Cgroup) {
    text = std::filesystem::path(text).lexically_normal().string();
    while (text.size() > 1 && text.ends_with('/')) text.pop_back();
    if (!text.starts_with('/')) text.insert(0, 1, '/');
    while (text.starts_with("//")) text.erase(0, 1);
  } else if (target.kind == TargetKind::Unit && !text.contains('.')) {
    text += ".service";
  } else if (target.kind == TargetKind::Pid) {
    text.erase(0, std::min(text.find_first_not_of('0'), text.size()));
  }
  return text;
}

const Target* with_selector_of_last(const std::vector<Target>& targets) {
  const Target& last = targets.back();
  if (last.selector.empty()) return nullptr;  // not read: a problem of its own
  const std::string selector = plain_selector(last);
  const auto same = [&](const Target& one) { return one.kind == last.kind && plain_selector(one) == selector; };
  const auto first = std::find_if(targets.begin(), targets.end() - 1, same);
  return first == targets.end() - 1 ? nullptr : &*first;
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

std::vector<Broken> broken_rules(const Admin& admin) {
  if (admin.socket.empty() || admin.socket.lexically_normal() != admin.token_file.lexically_normal()) return {};
  return {
      {"token_file", "socket and token_file in [admin] are the same path, where the token would replace the socket"}};
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
  const auto upstream = route.upstream ? UpstreamUrl::parse(*route.upstream) : Result<UpstreamUrl>();
  if (route.upstream && upstream && upstream->scheme == UpstreamUrl::Scheme::H2c &&
      route.upstream_http == UpstreamHttp::V1) {
    broken.push_back({"upstream_http", "upstream_http in [[routes]]: \"1.1\" contradicts the upstream " +
                                           in_quotes(*route.upstream) + ", which is HTTP/2; write " +
                                           in_quotes("http" + route.upstream->substr(3)) +
                                           ", or leave upstream_http out"});
  }
  if (auto field = unnumbered_field(route.grpc)) broken.push_back(std::move(*field));
  return broken;
}

std::vector<Broken> take_in(std::vector<Target>& targets) {
  Target& last = targets.back();
  if (targets.size() == kMostTargets + 1) {
    return {{"", "[[targets]]: there are " + std::to_string(kMostTargets) +
                     " at most, and this is one more; a cgroup above several captures them as one"}};
  }
  if (last.name.empty()) last.name = name_of_selector(last.selector);
  if (last.name == kProxyTarget) {
    return {
        {"name", "a target cannot be called 'explicit', which the clients of proxy.listen are; give it another name"}};
  }
  if (const Target* first = with_selector_of_last(targets)) {
    const std::string_view kind = word_of(kTargetKinds, last.kind);
    return {{kind, std::string(kind) + " in [[targets]]: " + in_quotes(last.selector) + " is captured as target " +
                       in_quotes(first->name) + " already; a target has one name, mode and session"}};
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

}  // namespace tapdeck::config
