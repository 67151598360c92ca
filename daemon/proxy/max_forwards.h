// Max-Forwards of OPTIONS and TRACE (RFC 9110 7.6.2): how many proxies may still pass a request on, and our answer
// where none may. Other methods may carry the field; there it means nothing. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/http/message.h"

namespace tapdeck::proxy {

// nullopt: another method, no such field, or no number in it. UINT64_MAX: that or more.
[[nodiscard]] std::optional<uint64_t> forwards_left(const http::RequestHead& request);

// What the proxy says itself, as the final recipient.
struct OwnAnswer {
  http::ResponseHead head;
  std::string body;
};
// Of OPTIONS: 200, no content. Of TRACE: the request as it came, without credentials (RFC 9110 9.3.8).
[[nodiscard]] OwnAnswer answer_as_recipient(const http::RequestHead& request);

}  // namespace tapdeck::proxy
