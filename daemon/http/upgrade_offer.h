// What an HTTP/1.1 request offers to upgrade its connection to, and whether a 101 takes one of it (RFC 9110 7.8).
//
// Pure functions. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "daemon/http/message.h"

namespace tapdeck::http {

// The values of all Upgrade fields as one list; empty: none.
[[nodiscard]] std::string upgrade_offer(const Headers& request);
// The Upgrade of the 101 names one of `offer`, whatever their versions. Among several layers (RFC 9110 7.8) only one
// needs to be offered: RFC 2817 answers "TLS/1.0" with "TLS/1.0, HTTP/1.1". False also where either list has more than
// 16 names or 1 KiB.
[[nodiscard]] bool takes_upgrade(const Headers& response, std::string_view offer);

}  // namespace tapdeck::http
