// Sniff: what a client's first bytes are: TLS, HTTP/1, an HTTP/2 preface, or something else. Pure. Thread: any.
#pragma once

#include <string_view>

#include "daemon/tls/client_hello.h"

namespace tapdeck::server {

enum class Protocol { NeedMore, Tls, Http1, Http2, Opaque };

struct Sniffed {
  Protocol protocol = Protocol::NeedMore;
  // What it comes nearest to, for who cannot wait for more. NeedMore: nothing yet, there is only waiting.
  Protocol nearest = Protocol::NeedMore;
  // No more came than the begin of a method, or an empty line before one. Handed on as bytes it would show a piece of a
  // request to its origin: worth the wait for a whole head.
  bool is_in_method = false;
  tls::ClientHello hello;  // for Tls
};

// Decides as early as the bytes allow, and the same however they were cut. A malformed ClientHello is Opaque: the
// origin may know what to say to it.
[[nodiscard]] Sniffed sniff(std::string_view bytes);
// The same for what TLS carried.
[[nodiscard]] Sniffed sniff_clear(std::string_view bytes);

}  // namespace tapdeck::server
