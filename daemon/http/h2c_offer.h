// The offer of an HTTP/1.1 request to go on in HTTP/2 in clear ("Upgrade: h2c", RFC 7540 3.2), which RFC 9113 3.1 has
// taken back. curl --http2, nghttp -u and Java's HttpClient make it with every http:// request. An origin that took it
// would turn the connection into bytes that nobody records, so no origin is shown it, whatever the mode: the client is
// answered in HTTP/1.1, as by an origin that does not know h2c.
//
// Not the preface of prior knowledge, which is HTTP/2 from its first byte. Pure. Thread: any.
#pragma once

#include "daemon/http/message.h"

namespace tapdeck::http {

// Takes "h2c" out of Upgrade, HTTP2-Settings away, and what then stands for nothing out of Connection. Other protocols
// that are offered stay, and so does every other field at its place. Without the offer nothing changes.
void drop_h2c_offer(Headers& headers);

}  // namespace tapdeck::http
