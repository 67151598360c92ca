// UpstreamUrl: the value of a route's `upstream`. A scheme, a host and a port; what of the path changes is
// rewrite_path's. Plain value. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::config {

struct UpstreamUrl {
  enum class Scheme { Http, Https, H2c };  // H2c: HTTP/2 with prior knowledge, in clear
  Scheme scheme = Scheme::Http;
  std::string host;       // name or IP, without brackets
  uint16_t port = 0;      // the scheme's own where none was given
  std::string authority;  // what Host says: no port where it is the scheme's own

  // "http://api.internal:8080", "https://[2001:db8::1]", "h2c://grpc.internal:50051". InvalidArgument says what is
  // wrong; a path beyond "/" is.
  [[nodiscard]] static Result<UpstreamUrl> parse(std::string_view text);
};

}  // namespace tapdeck::config
