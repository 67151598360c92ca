// What an exchange is a request to: the parts of the match key that come from the connection rather than the message.
// Pure. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "daemon/exchange/exchange.h"
#include "daemon/upstream/connection.h"
#include "store/match_key.h"

namespace tapdeck::modes {

// Views into the exchange, or into `storage`.
struct OriginName {
  std::string_view scheme;     // "http" | "https"
  std::string_view host;       // verified SNI, else authority without port, else the original IP
  uint16_t port = 0;           // of the original destination
  std::string_view authority;  // the authority's host when it differs from `host`, else empty: a further key dimension
};

// A Host header never decides where a flow goes, and alone never decides what it matches: when it disagrees with the
// SNI both are in the key (Squid CVE-2009-0801 is the class).
[[nodiscard]] OriginName origin_of(const exchange::Exchange& exchange, std::string& storage);

// The dimensions of the key that every mode adds: the authority, "protocol" for a WebSocket, which is another request
// than the plain GET of the same path, and the fields that say what is asked for (modes/operation_fields.h).
void add_dimensions(store::KeyBuilder& key, const OriginName& origin, const http::RequestHead& request);

// A body that belongs to the request, and to its key. What follows the head of a CONNECT of any kind is none.
[[nodiscard]] bool has_body(const exchange::Exchange& exchange);

// "host" of "host:port", "[v6]:port" or "host".
[[nodiscard]] std::string_view host_of_authority(std::string_view authority);

// TLS towards the origin: as the client does, unless its route says otherwise.
[[nodiscard]] bool is_secure(const exchange::Exchange& exchange);

// The pooled connections an exchange may use.
[[nodiscard]] upstream::Key upstream_key_of(exchange::Exchange& exchange);

// Points a key made of `flow`'s destination to where its route says, if it has one.
void follow_route(upstream::Key& key, const exchange::CapturedFlow& flow);

}  // namespace tapdeck::modes
