// Request and Response of the admin API as plain values: what is left of HTTP once framing is gone.
// Not the wire (server.cc) and not the meaning (router.h). Thread: any.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/admin/pieces.h"

namespace tapdeck::admin {

// Who sent it. Unix: through the socket of mode 0600, from our own uid or root.
enum class Via { Tcp, Unix };

struct Request {
  Via via = Via::Tcp;
  std::string method;
  std::string path;                          // still percent-encoded; decode each segment
  std::map<std::string, std::string> query;  // decoded
  std::optional<std::string> repeated = {};  // a name that is there twice
  std::string host;                          // as sent, may be empty
  std::optional<std::string> origin;         // Origin header
  std::string authorization;
  std::string body;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  std::string allow = {};  // of a 405
  Pieces rest = {};        // of the body, behind `body`; without `next` there is none
};

// Splits an origin-form target into path and decoded query; false when it is malformed (bad escape, NUL, not beginning
// with '/').
[[nodiscard]] bool parse_target(std::string_view target, Request& into);
// Percent-decodes one path segment; nullopt when malformed.
[[nodiscard]] std::optional<std::string> decode_segment(std::string_view text);
// The other way round, for clients.
[[nodiscard]] std::string encode_segment(std::string_view text);

}  // namespace tapdeck::admin
