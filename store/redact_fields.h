// Where in header fields secrets may stand that no list of names in the configuration finds: in URLs, and among the
// subprotocols of a WebSocket, by which browsers, which can set no field of their own there, send tokens. And what of
// cookies is secret: clients and programs need the rest, names and attributes, to read them in a replay.
//
// Pure. It finds, the Redactor replaces. Internal to store/. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tapdeck::store {

enum class FieldKind : uint8_t {
  Plain,      // nothing to look for
  Url,        // the value is a URL or a request target: Referer, Location, X-Original-URL ...
  Links,      // Link: <URL>; rel=..., ... (RFC 8288)
  Refresh,    // Refresh: seconds; url=URL
  Protocols,  // Sec-WebSocket-Protocol
  Cookies,    // Cookie: name=value; name=value
  SetCookie,  // Set-Cookie: name=value; attribute; attribute=value
};
[[nodiscard]] FieldKind kind_of_field(std::string_view name);

struct FieldPiece {
  size_t begin = 0, size = 0;
};
// The URLs in a value; of Protocols what is a token; of cookies their values without quotes around them, of SetCookie
// also of attributes that nobody knows: another cookie may be among them. In order, none is empty.
[[nodiscard]] std::vector<FieldPiece> pieces_of_field(FieldKind kind, std::string_view value);

}  // namespace tapdeck::store
