// What of the whole file cannot be meant, or most likely is not: sections that contradict each other, and keys without
// effect beside others. Rules of one section are in rules.cc.
#include <algorithm>

#include "daemon/base/ascii.h"
#include "daemon/base/endpoint.h"
#include "daemon/base/nearest.h"
#include "daemon/config/problems.h"
#include "daemon/config/schema.h"
#include "daemon/config/upstream_url.h"

namespace tapdeck::config {
namespace {

// Both cannot be listened on. [::] takes IPv4 too.
bool overlap(const Endpoint& a, const Endpoint& b) {
  if (a.port != b.port || a.port == 0) return false;
  const auto takes = [](const Endpoint& all, const Endpoint& one) {
    return all.is_unspecified() && (all.family == one.family || all.family == Endpoint::Family::V6);
  };
  return (a.family == b.family && a.address == b.address) || takes(a, b) || takes(b, a);
}

// As upstream::OwnAddresses, which refuses it when it is asked for; but only what is clear without asking the host.
bool leads_to(const Endpoint& listener, const UpstreamUrl& url) {
  const auto reaches = [&](Endpoint to) {
    to.port = url.port;
    const bool is_same = overlap(listener, to) && (to.is_loopback() || !listener.is_unspecified());
    return is_same ||
           (listener.port == to.port && to.is_unspecified() && (listener.is_loopback() || listener.is_unspecified()));
  };
  if (const auto address = Endpoint::parse(url.host)) return reaches(*address);
  const std::string name = lowered(url.host);
  const bool is_here = name == "localhost" || name == "localhost." || name.ends_with(".localhost");
  return is_here && (reaches(*Endpoint::parse("127.0.0.1")) || reaches(*Endpoint::parse("::1")));
}

std::string of_route(size_t route, std::string_view key) {
  return "routes[" + std::to_string(route) + "]." + std::string(key);
}

bool is_off(std::string_view listen) {
  return listen.empty() || listen == "off";
}

void doubt_proxy(const Proxy& proxy, std::vector<Finding>& out) {
  if (!is_off(proxy.listen)) return;
  const auto doubt = [&](const std::string& key) {
    out.push_back({"proxy." + key, key + " in [proxy] has no effect: listen is off"});
  };
  if (!proxy.allow.empty()) doubt("allow");
  if (proxy.allow_remote) doubt("allow_remote");
}

void doubt_target_of(const Config& config, size_t i, std::vector<Finding>& out) {
  const Route& route = config.routes[i];
  std::vector<std::string_view> targets = {kProxyTarget, kRunTarget};
  for (const Target& target : config.targets) targets.emplace_back(target.name);
  if (!route.target || std::ranges::find(targets, *route.target) != targets.end()) return;
  const std::string_view near = nearest(*route.target, targets);
  out.push_back({of_route(i, "target"), "target in [[routes]]: no [[targets]] is called " + in_quotes(*route.target) +
                                            (near.empty() ? "; nothing matches until one is attached"
                                                          : "; did you mean " + in_quotes(near) + "?")});
}

void doubt_route(const Config& config, size_t i, std::vector<Finding>& out) {
  const Route& route = config.routes[i];
  doubt_target_of(config, i, out);
  for (const auto& [key, path] : {std::pair{"path", route.path}, std::pair{"path_prefix", route.path_prefix}}) {
    if (!path || !path->contains('*')) continue;
    out.push_back({of_route(i, key), std::string(key) + " in [[routes]]: '*' stands for itself here; path_prefix = \"" +
                                         path->substr(0, path->find('*')) + "\" is all that begins so"});
  }
  if (route.upstream && is_off(config.proxy.listen)) {
    out.push_back({of_route(i, "upstream"),
                   "upstream in [[routes]]: proxy.listen is off, so nobody can ask for it; give it an address, "
                   "for example listen = \"127.0.0.1:8080\""});
  }
  if (route.websocket && !route.websocket->ignore.empty() && route.websocket->mode != WebSocketMode::Matched) {
    out.push_back({of_route(i, "websocket.ignore"), "ignore in [routes.websocket] has no effect with mode = \"" +
                                                        std::string(word_of(kWebSocketModes, route.websocket->mode)) +
                                                        "\", only with \"matched\""});
  }
}

}  // namespace

std::vector<Finding> contradictions(const Config& config) {
  std::vector<Finding> out;
  const auto proxy = Endpoint::parse(config.proxy.listen);
  const auto admin = Endpoint::parse(config.admin.listen);
  if (proxy && admin && overlap(*proxy, *admin)) {
    out.push_back({"proxy.listen", "listen in [proxy]: " + config.proxy.listen + " and listen in [admin], " +
                                       config.admin.listen + ", cannot both be listened on; give one another port"});
  }
  for (size_t i = 0; i < config.routes.size(); ++i) {
    const auto& upstream = config.routes[i].upstream;
    const auto url = upstream ? UpstreamUrl::parse(*upstream) : Result<UpstreamUrl>();
    if (!upstream || !url) continue;
    const auto refuse = [&](const char* whose) {
      out.push_back({of_route(i, "upstream"), "upstream in [[routes]]: " + in_quotes(*upstream) + " leads to " + whose +
                                                  ", and tapdeck never forwards to itself"});
    };
    if (proxy && leads_to(*proxy, *url)) {
      refuse("proxy.listen");
    } else if (admin && leads_to(*admin, *url)) {
      refuse("admin.listen");
    }
  }
  return out;
}

std::vector<Finding> doubts(const Config& config) {
  std::vector<Finding> out;
  doubt_proxy(config.proxy, out);
  for (size_t i = 0; i < config.targets.size(); ++i) {
    if (config.targets[i].kind != TargetKind::Container) continue;
    if (auto doubt = doubt_of_container(config.targets[i].selector)) {
      out.push_back({"targets[" + std::to_string(i) + "].container", "container in [[targets]]: " + *doubt});
    }
  }
  for (size_t i = 0; i < config.routes.size(); ++i) doubt_route(config, i, out);
  for (size_t i = 0; i < config.redact.query.size(); ++i) {
    const auto doubt = doubt_of_parameter(config.redact.query[i]);
    if (doubt) out.push_back({"redact.query[" + std::to_string(i) + "]", "query in [redact]: " + *doubt});
  }
  return out;
}

}  // namespace tapdeck::config
