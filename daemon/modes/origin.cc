#include "daemon/modes/origin.h"

#include "daemon/ws/handshake.h"

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
  origin.scheme = tls.version.empty() ? "http" : "https";
  origin.port = exchange.flow().destination.port;
  const std::string_view authority = host_of_authority(exchange.request().authority);
  if (!tls.sni.empty()) {
    origin.host = tls.sni;
    if (!authority.empty() && !http::iequals(authority, tls.sni)) origin.authority = authority;
  } else if (!authority.empty()) {
    origin.host = authority;
  } else {
    storage = exchange.flow().destination.ip();
    origin.host = storage;
  }
  return origin;
}

void add_dimensions(store::KeyBuilder& key, const OriginName& origin, const http::RequestHead& request) {
  if (!origin.authority.empty()) key.dimension("authority", origin.authority);
  if (ws::is_websocket(request)) key.dimension("protocol", "websocket");
}

bool has_body(const exchange::Exchange& exchange) {
  return !exchange.request_is_bodyless() && !ws::is_websocket(exchange.request());
}

upstream::Key upstream_key_of(exchange::Exchange& exchange) {
  upstream::Key key;
  const exchange::TlsFacts& tls = exchange.tls();
  key.netns_cookie = exchange.flow().identity.netns_cookie;
  key.address = exchange.flow().destination;
  key.security = tls.version.empty() ? upstream::Security::Clear : upstream::Security::Tls;
  key.alpn = exchange.facts().upstream_offer.value_or(tls.upstream_offer);
  if (key.security == upstream::Security::Tls) key.server_name = tls.sni;
  return key;
}

}  // namespace tapdeck::modes
