// Heads of a WebSocket handshake that goes from one version of HTTP to the other: what the codecs cannot add, since it
// is not in the head they translate (RFC 6455 4.1 and 4.2.2 against RFC 8441 5). Pure functions. Thread: any.
#pragma once

#include <optional>

#include "daemon/base/result.h"
#include "daemon/http/message.h"

namespace tapdeck::modes {

// An extended CONNECT on its way to an h1 origin: with a Sec-WebSocket-Key, which h2 has none of.
[[nodiscard]] http::RequestHead for_h1_origin(const http::RequestHead& connect);
// `response` of an h2 origin opens the WebSocket that an h1 client asked for.
[[nodiscard]] bool is_opened_by_h2(const http::RequestHead& request, const http::ResponseHead& response);
// The 2xx of an h1 origin to an extended CONNECT refuses the WebSocket, as anything but a 101 does; in h2 it would open
// it. What the client is told instead, if `response` is such.
[[nodiscard]] std::optional<Error> refusal_by_h1(const http::RequestHead& request, const http::ResponseHead& response);
// The 2xx of an h2 origin on its way to the h1 client that sent `upgrade`: a 101 with the accept of its key.
[[nodiscard]] http::ResponseHead for_h1_client(const http::RequestHead& upgrade, const http::ResponseHead& response);

}  // namespace tapdeck::modes
