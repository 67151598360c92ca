// Error -> what the client is told: HTTP status, JSON error name and body. Exhaustive on purpose: a new Code fails to
// compile until its meaning for clients is decided. Pure but for respond_failure(). Thread: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/metrics.h"
#include "daemon/base/result.h"
#include "daemon/exchange/exchange.h"

namespace tapdeck::exchange {

// A body that is longer than limits.max_body: the request's (Downstream) or the response's (Upstream). Of the other
// limits that are TooLarge, those of heads, is_body_limit() is false.
[[nodiscard]] Error body_limit(Origin whose);
[[nodiscard]] bool is_body_limit(const Error& error);

// 502, 504, 400, 413, 431, 501, 408, 503 or 500.
[[nodiscard]] int status_of(const Error& error);
// "upstream_connect", "upstream_timeout", "upstream_tls", "upstream_reset", "upstream_truncated", "upstream_dns",
// "bad_request", ...: stable, in facts, logs and the JSON that clients get.
[[nodiscard]] std::string_view name_of(const Error& error);
// The same, when the exchange was stopped because its client had left.
[[nodiscard]] std::string_view name_of(const Error& error, const Facts& facts);
// Error and detail of the exchange. What was said first stays: what fails behind it fails because of it, or does not
// know why.
void note_failure(Facts& facts, const Error& error);
// {"error":name,"detail":...,"destination":...}; control bytes escaped.
[[nodiscard]] std::string json_of(const Error& error, std::string_view destination);
// Tells the client, unless it was answered before, and notes it.
net::Task<Result<void>> respond_failure(Exchange& exchange, Error error);
// The counter of an upstream failure.
[[nodiscard]] Counter counter_of(const Error& error);
// The counter of what a client's codec refused before it was an exchange, or in its body; nullopt: it has none. Without
// the codec, which did not end with it, of a single stream.
[[nodiscard]] std::optional<Counter> refusal_counter_of(const Error& error);
[[nodiscard]] std::optional<Counter> refusal_counter_of(const Error& error, const http::Codec& ended);
// A JSON string literal with quotes; invalid UTF-8 becomes U+FFFD.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace tapdeck::exchange
