// Heads of a WebSocket handshake that goes from one version of HTTP to the other: what the codecs cannot add, since it
// is not in the head they translate (RFC 6455 4.1 and 4.2.2 against RFC 8441 5). Pure functions. Thread: any.
#pragma once

#include <optional>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/http/message.h"

namespace tapdeck::modes {

// An extended CONNECT on its way to an h1 origin: with a Sec-WebSocket-Key, which h2 has none of.
[[nodiscard]] http::RequestHead for_h1_origin(const http::RequestHead& connect);
// `response` of an h2 origin opens the WebSocket that an h1 client asked for.
[[nodiscard]] bool is_opened_by_h2(const http::RequestHead& request, const http::ResponseHead& response);
// What an h1 origin answered to an extended CONNECT does not open the WebSocket, although it would over HTTP/2: a 2xx,
// which refuses it there as anything but a 101 does, or a 101 that names no websocket or does not accept `key`, which
// was ours to make and is ours to check (RFC 6455 4.1). What the client is told instead; `key` empty: not known.
[[nodiscard]] std::optional<Error> refusal_by_h1(const http::RequestHead& request, const http::ResponseHead& response,
                                                 std::string_view key);
// The key of a recorded handshake, as far as its client had sent one; else empty.
[[nodiscard]] std::string_view handshake_key(const http::RequestHead& request);
// The 2xx of an h2 origin on its way to the h1 client that sent `upgrade`: a 101 with the accept of its key.
[[nodiscard]] http::ResponseHead for_h1_client(const http::RequestHead& upgrade, const http::ResponseHead& response);

}  // namespace tapdeck::modes
