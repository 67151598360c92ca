#include "daemon/proxy/plan.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "daemon/config/routes.h"
#include "daemon/config/upstream_url.h"
#include "daemon/proxy/hop_by_hop.h"

namespace tapdeck::proxy {

namespace {

// What to offer the origin: what the client speaks, so that heads pass as they are; a client of h2 also takes h1.
std::string offer_for(const http::RequestHead& request, bool secure) {
  if (request.version != http::Version::Http2) return secure ? "http/1.1" : "";
  return secure ? "h2,http/1.1" : "h2c";
}

Plan plan_reverse(const http::RequestHead& request, const config::Route& route, size_t rule) {
  const auto url = config::UpstreamUrl::parse(*route.upstream);
  if (!url) return Refused{500, "bad_upstream", url.error().detail};  // the configuration was checked
  const std::string named = url->host.contains(':') ? "[" + url->host + "]" : url->host;
  auto destination = Destination::parse(named, url->port);
  if (!destination) return Refused{500, "bad_upstream", destination.error().detail};
  Forwarded out{std::move(*destination), {}, request, WayBack::of(route, *url, request)};
  using Scheme = config::UpstreamUrl::Scheme;
  const bool secure = url->scheme == Scheme::Https;
  out.route.security = secure ? exchange::UpstreamRoute::Security::Tls : exchange::UpstreamRoute::Security::Clear;
  if (secure) out.route.offer = offer_for(request, secure);
  if (url->scheme == Scheme::H2c) out.route.offer = "h2c";
  out.route.rule = rule;
  out.head.scheme = secure ? "https" : "http";
  out.head.target = rewritten_target(route, request.target);
  if (route.rewrite_host) {
    out.head.authority = url->authority;
    if (request.version != http::Version::Http2) out.head.headers.set("Host", url->authority);
  }
  strip_hop_by_hop(out.head);
  return out;
}

// "http://host/path?query" -> "/path?query"; no path is "/", and "*" for OPTIONS (RFC 9112 3.2.4).
std::string origin_form(const http::RequestHead& request) {
  const size_t authority = request.target.find("://") + 3;
  const size_t rest = request.target.find_first_of("/?#", authority);
  if (rest == std::string::npos) return request.method == "OPTIONS" ? "*" : "/";
  std::string target = request.target.substr(rest, request.target.find('#', rest) - rest);
  return target.starts_with('/') ? target : "/" + target;
}

Plan plan_forward(const http::RequestHead& request, std::string target) {
  const bool secure = request.scheme == "https";
  auto destination = Destination::parse(request.authority, secure ? 443 : 80);
  if (!destination) return Refused{400, "bad_request", destination.error().detail};
  Forwarded out{std::move(*destination), {}, request, {}};
  out.route.security = secure ? exchange::UpstreamRoute::Security::Tls : exchange::UpstreamRoute::Security::Clear;
  out.route.offer = offer_for(request, secure);
  out.head.target = std::move(target);
  if (request.version != http::Version::Http2) out.head.headers.set("Host", request.authority);
  strip_hop_by_hop(out.head);
  return out;
}

bool names_proxy(const Destination& named, const IsProxy& is_proxy) {
  if (named.endpoint.family != Endpoint::Family::None) return is_proxy(named.endpoint);
  if (named.host != "localhost" && !named.host.ends_with(".localhost")) return false;
  const auto v4 = Endpoint::parse("127.0.0.1", named.port);
  const auto v6 = Endpoint::parse("::1", named.port);
  return (v4 && is_proxy(*v4)) || (v6 && is_proxy(*v6));
}

Plan plan_way(const http::RequestHead& request, const std::vector<config::Route>& routes, std::string_view target_name,
              const IsProxy& is_proxy) {
  const bool origin_form_target = request.target.starts_with('/') || request.target == "*";
  if (!origin_form_target) return plan_forward(request, origin_form(request));
  // HTTP/1.0 may come without Host: then only routes without a host condition can fit.
  const auto named = Destination::parse(request.authority, request.scheme == "https" ? 443 : 80);
  const Destination asked = named ? *named : Destination{};
  const std::string_view path = http::split_target(request.target).path;
  const config::RouteFacts facts = {.scheme = request.scheme == "https" ? config::Scheme::Https : config::Scheme::Http,
                                    .host = asked.host,
                                    .port = asked.port,
                                    .path = path,
                                    .method = request.method,
                                    .target_name = target_name};
  for (size_t i = 0; i < routes.size(); ++i) {
    if (routes[i].upstream && config::fits(routes[i], facts)) return plan_reverse(request, routes[i], i);
  }
  // HTTP/2 has no absolute form: :scheme and :authority say it all (RFC 9113 8.3.1).
  if (request.version == http::Version::Http2 && named && !names_proxy(*named, is_proxy)) {
    return plan_forward(request, request.target);
  }
  return Refused{404, "no_route",
                 "no [[routes]] entry with an upstream fits " + request.method + " " + std::string(path) +
                     " for host '" + asked.host +
                     "'. This is tapdeck's proxy: let clients use it through http_proxy and https_proxy (curl does not "
                     "listen to HTTP_PROXY in capitals, others do not to small letters: set both), or give a route an "
                     "upstream = \"http://...\""};
}

}  // namespace

Plan plan_request(const http::RequestHead& request, const std::vector<config::Route>& routes,
                  std::string_view target_name, const IsProxy& is_proxy) {
  const auto left = forwards_left(request);
  if (left == 0) return answer_as_recipient(request);
  Plan plan = plan_way(request, routes, target_name, is_proxy);
  auto* forwarded = std::get_if<Forwarded>(&plan);
  if (left && forwarded != nullptr) forwarded->head.headers.set("Max-Forwards", std::to_string(*left - 1));
  return plan;
}

}  // namespace tapdeck::proxy
