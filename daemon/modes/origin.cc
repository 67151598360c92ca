#include "daemon/modes/origin.h"

#include "daemon/modes/operation_fields.h"

namespace tapdeck::modes {

std::string_view host_of_authority(std::string_view authority) {
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    return close == std::string_view::npos ? authority : authority.substr(1, close - 1);
  }
  return authority.substr(0, authority.find(':'));
}

OriginName origin_of(const exchange::Exchange& exchange, std::string& storage) {
  OriginName origin;
  const exchange::TlsFacts& tls = exchange.tls();
  origin.scheme = is_secure(exchange) ? "https" : "http";
  origin.port = exchange.flow().destination.port;
  const std::string_view authority = host_of_authority(exchange.request().authority);
  const exchange::UpstreamRoute* route = exchange.flow().route.get();
  if (route != nullptr && route->security != exchange::UpstreamRoute::Security::AsClient) {
    origin.host = route->host;
    if (!authority.empty() && !http::iequals(authority, route->host)) origin.authority = authority;
    return origin;
  }
  if (!tls.sni.empty()) {
    origin.host = tls.sni;
    if (!authority.empty() && !http::iequals(authority, tls.sni)) origin.authority = authority;
  } else if (!authority.empty()) {
    origin.host = authority;
  } else {
    storage = route != nullptr ? route->host : exchange.flow().destination.ip();
    origin.host = storage;
  }
  return origin;
}

void add_dimensions(store::KeyBuilder& key, const OriginName& origin, const http::RequestHead& request) {
  if (!origin.authority.empty()) key.dimension("authority", origin.authority);
  if (http::is_websocket(request)) key.dimension("protocol", "websocket");
  add_operation_fields(key, request.headers);
}

bool has_body(const exchange::Exchange& exchange) {
  const http::RequestHead& request = exchange.request();
  return !exchange.request_is_bodyless() && request.method != "CONNECT" && !http::is_websocket(request);
}

bool is_secure(const exchange::Exchange& exchange) {
  const exchange::UpstreamRoute* route = exchange.flow().route.get();
  if (route == nullptr || route->security == exchange::UpstreamRoute::Security::AsClient) {
    return !exchange.tls().version.empty();
  }
  return route->security == exchange::UpstreamRoute::Security::Tls;
}

upstream::Key upstream_key_of(exchange::Exchange& exchange) {
  upstream::Key key;
  const exchange::TlsFacts& tls = exchange.tls();
  key.netns_cookie = exchange.flow().identity.netns_cookie;
  key.address = exchange.flow().destination;
  key.target = exchange.flow().identity.target;
  key.tenant = exchange.flow().identity.tenant;
  key.security = tls.version.empty() ? upstream::Security::Clear : upstream::Security::Tls;
  key.alpn = tls.upstream_offer;
  if (key.security == upstream::Security::Tls) key.server_name = tls.sni;
  follow_route(key, exchange.flow());
  if (const auto& fixed = exchange.facts().upstream_offer) key.alpn = *fixed;
  return key;
}

void follow_route(upstream::Key& key, const exchange::CapturedFlow& flow) {
  using Security = exchange::UpstreamRoute::Security;
  if (flow.route == nullptr) return;
  const bool named = flow.destination.family == Endpoint::Family::None;
  if (named) key.host = flow.route->host;
  if (flow.route->security == Security::AsClient) {
    // A client without SNI still said whom it wants to talk to.
    if (named && key.security == upstream::Security::Tls && key.server_name.empty()) key.server_name = flow.route->host;
    return;
  }
  const bool secure = flow.route->security == Security::Tls;
  key.security = secure ? upstream::Security::Tls : upstream::Security::Clear;
  key.server_name = secure && named ? flow.route->host : std::string();
  key.alpn = flow.route->offer;
}

}  // namespace tapdeck::modes
