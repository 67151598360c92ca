// Heads of one HTTP version in the words of the other: RFC 9113 section 8 and RFC 9112, RFC 8441 for WebSocket.
//
// Pure functions. Both codecs use them when a head of the other version is to be sent; nothing above http/ has to know.
// What cannot be said on the other side is refused, never repaired. Thread: any.
#pragma once

#include <string_view>

#include "daemon/base/result.h"
#include "daemon/http/message.h"

namespace tapdeck::http {

// The status that answers a WebSocket handshake with yes: 101 to an h1 request, 2xx to an extended CONNECT.
[[nodiscard]] bool accepts_websocket(const RequestHead& request, int status);

// The header list of an HTTP/2 request or response: pseudo-header fields first, then the others with lower-case names,
// without those that speak of the connection (RFC 9113 8.2.2: Connection and all it names, Keep-Alive,
// Proxy-Connection, Transfer-Encoding, Upgrade; TE keeps "trailers"). Host becomes :authority, an absolute-form target
// is taken apart, a WebSocket GET becomes an extended CONNECT without Sec-WebSocket-Key. `scheme` is used where the
// head has none. HTTP/1.0 needs no Host, most HTTP/2 servers an :authority: the caller gives `authority`. `fields` is
// cleared first. Error Protocol, origin Downstream: a name, value, method, target or authority that HTTP/2 cannot
// carry. Of a response or trailers: Internal.
Result<void> to_h2(const RequestHead& head, std::string_view scheme, Headers& fields);
// 101 becomes 200 without Sec-WebSocket-Accept: the caller has made sure that the stream is an extended CONNECT.
Result<void> to_h2(const ResponseHead& head, Headers& fields);
Result<void> to_h2_trailers(const Headers& trailers, Headers& fields);

// An HTTP/1.1 head for one of HTTP/2: Host first, cookie crumbs joined by "; ", Connection: TE where TE is sent. An
// extended CONNECT for WebSocket becomes GET with Upgrade and Connection; Sec-WebSocket-Key must be among its headers
// or be added before. Error Protocol where there is no authority, Unsupported for another :protocol.
Result<RequestHead> to_h1(const RequestHead& head);
// What a response answers. WebSocket: a GET that asks for one; a 2xx with Sec-WebSocket-Accept then becomes 101 with
// Upgrade and Connection.
enum class Answers { Plain, WebSocket };
Result<ResponseHead> to_h1(const ResponseHead& head, Answers answers);

}  // namespace tapdeck::http
