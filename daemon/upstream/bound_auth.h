// Which messages say that an identity belongs to the connection they travel on, and not to the request: NTLM, and
// Negotiate (RFC 4559), which may turn into it. After such a handshake an origin takes whatever comes on that
// connection for its user's.
//
// Pure. Thread: any.
#pragma once

#include "daemon/http/message.h"

namespace tapdeck::upstream {

// Authorization or Proxy-Authorization of such a scheme.
[[nodiscard]] bool has_bound_credentials(const http::RequestHead& request);
// A 401 or 407 that offers or continues such a handshake.
[[nodiscard]] bool is_bound_challenge(const http::ResponseHead& response);

}  // namespace tapdeck::upstream
