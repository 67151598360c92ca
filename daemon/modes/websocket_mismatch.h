// WebSocketMismatch: what is wrong with a message of the client that a recording does not have, for the Close that says
// so, and what would have matched, for people. Pure. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/modes/json_rules.h"
#include "store/record.h"

namespace tapdeck::modes {

struct WebSocketMismatch {
  std::string reason;  // "message 2: differs at $.id"; no value of it
  std::string rule;    // the route's `ignore` that would have made it match, as configured; empty: none would
};

// A Text or Binary message.
struct WebSocketWords {
  store::Message::Kind kind = store::Message::Kind::Text;
  std::string_view payload;
};

// How the client's message differs from the nearest of `recorded`, the likeliest first, by value where the route
// compares so (else `rules` is null). About 1 MiB of them is looked at.
[[nodiscard]] WebSocketMismatch mismatch_with(const std::vector<WebSocketWords>& recorded,
                                              const WebSocketWords& received, const JsonRules* rules);

}  // namespace tapdeck::modes
