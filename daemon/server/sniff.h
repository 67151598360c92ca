// Sniff: what a client's first bytes are: TLS, HTTP/1, an HTTP/2 preface, or something else. Pure. Thread: any.
#pragma once

#include <string_view>

#include "daemon/tls/client_hello.h"

namespace tapdeck::server {

enum class Protocol { NeedMore, Tls, Http1, Http2, Opaque };

struct Sniffed {
  Protocol protocol = Protocol::NeedMore;
  tls::ClientHello hello;  // for Tls
};

// Decides as early as the bytes allow. A malformed ClientHello is Opaque: the origin may know what to say to it.
[[nodiscard]] Sniffed sniff(std::string_view bytes);

}  // namespace tapdeck::server
