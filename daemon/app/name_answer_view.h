// How it looks what a resolver answered: as JSON (the admin API, --json), and in a table for people. Thread: any. Pure.
#pragma once

#include <string>

#include "daemon/app/json_view.h"
#include "store/name_answers.h"

namespace tapdeck::app {

// {"name", "type", "answer": [records, without TTL], "status"}. The status is that of the message ("NOERROR",
// "NXDOMAIN", "SERVFAIL", ..., "RCODE11"), "silent" or "unreachable" where there was none, "unreadable": no DNS
// message. "truncated": true where it is.
[[nodiscard]] Json name_view(const store::NameAnswer& answer);

// Of a name_view(): "192.0.2.1, 192.0.2.2", "no such name (NXDOMAIN)".
[[nodiscard]] std::string answer_text(const Json& view);

}  // namespace tapdeck::app
