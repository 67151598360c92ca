// What redaction put in place of a secret ("[redacted:xxxxxxxx]", store/redact.h), found again in what a client sends:
// it was given that by a replay, and gives it back as it is, percent-encoded, or as the user information of a URL.
//
// Pure. Thread: any.
#pragma once

#include <string_view>

#include "daemon/http/message.h"

namespace tapdeck::modes {

// Anywhere in `text`, in any case, percent-encoded up to three times.
[[nodiscard]] bool holds_placeholder(std::string_view text);
// Where a request has one: "URL", or the name of a header field as sent (a view into `head`); empty: nowhere.
[[nodiscard]] std::string_view placeholder_in(const http::RequestHead& head);

}  // namespace tapdeck::modes
