// The WebSocket opening handshake as heads: who agrees to one (who asks for one is http::is_websocket), its key, and
// permessage-deflate between them (RFC 6455 section 4, RFC 8441 section 4, RFC 7692 section 7.1). Pure functions.
// Thread: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/http/message.h"
#include "daemon/ws/deflate.h"

namespace tapdeck::ws {

// `response` opens the WebSocket that `request` asked for: 101 with Upgrade: websocket, or 2xx to a CONNECT.
[[nodiscard]] bool is_opened(const http::RequestHead& request, const http::ResponseHead& response);

// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
[[nodiscard]] std::string accept_of(std::string_view key);
// The Sec-WebSocket-Accept of `response` is that of `key`.
[[nodiscard]] bool accepts(const http::ResponseHead& response, std::string_view key);
// A fresh Sec-WebSocket-Key.
[[nodiscard]] std::string random_key();
// Base64 of 16 bytes.
[[nodiscard]] bool is_key(std::string_view text);

// What both sides agreed for permessage-deflate.
struct DeflateParams {
  Context server = Context::Kept;
  Context client = Context::Kept;
  int server_window_bits = 15;
  int client_window_bits = 15;
  friend bool operator==(const DeflateParams&, const DeflateParams&) = default;
};

// The extensions of a response. `known` is false when it has one that is not permessage-deflate, or one that does not
// parse: its frames may mean anything.
struct AgreedExtensions {
  std::optional<DeflateParams> deflate;
  bool known = true;
};
[[nodiscard]] AgreedExtensions agreed_extensions(const http::Headers& response);

// `response` agrees to an extension that `request` does not name: its client gives the handshake up (RFC 6455 4.1).
[[nodiscard]] bool has_unoffered_extension(const http::Headers& request, const http::Headers& response);

// The first permessage-deflate offer in a request that can be met while keeping to `wanted` (what an origin once
// agreed to) as far as the offer allows; nullopt: none. Our own window is 9..15 bits, so an offer of 8 is not met.
[[nodiscard]] std::optional<DeflateParams> accept_offer(const http::Headers& request, const DeflateParams& wanted);
// The value of Sec-WebSocket-Extensions that says so.
[[nodiscard]] std::string to_header(const DeflateParams& params);

}  // namespace tapdeck::ws
