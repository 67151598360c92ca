// Which header fields end at a proxy (RFC 9110 7.6.1). Only for explicit and reverse flows: a client that was captured
// believes to talk to the origin, and its Connection field is meant for it. Pure. Thread: any.
#pragma once

#include "daemon/http/message.h"

namespace tapdeck::proxy {

// Removes Connection and what it names, Keep-Alive, Proxy-Connection, TE and the Proxy-Auth* fields. An upgrade stays
// one ("Connection: Upgrade" and Upgrade): we pass upgrades on. Never removed, whatever Connection names: Host and what
// frames the message, which would change its meaning behind our back. "TE: trailers" of a request stays for the
// end-to-end promise it is in gRPC, over HTTP/1 with the "Connection: TE" it needs (RFC 9110 10.1.4).
void strip_hop_by_hop(http::RequestHead& request);
void strip_hop_by_hop(http::ResponseHead& response);

}  // namespace tapdeck::proxy
