// What a gRPC call says about itself in HTTP fields: content type, message coding, deadline, status. gRPC's
// PROTOCOL-HTTP2.md is the source. Pure. Thread: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/http/message.h"

namespace tapdeck::grpc {

// Status codes we send ourselves; others are the origin's.
inline constexpr uint32_t kDeadlineExceeded = 4;
// What a 503 is to gRPC: there is no session to answer from, and a client may try again.
inline constexpr uint32_t kUnavailable = 14;
// A miss. Not UNAVAILABLE (14), which makes clients try again, and not NOT_FOUND (5) or UNIMPLEMENTED (12), which
// applications give a meaning: "the client should not retry until the system state has been explicitly fixed".
inline constexpr uint32_t kFailedPrecondition = 9;

// "application/grpc", "application/grpc+proto", with or without parameters. gRPC-Web is another protocol.
[[nodiscard]] bool is_grpc_content_type(std::string_view content_type);
// A POST with such a content type.
[[nodiscard]] bool is_call(const http::RequestHead& head);
// grpc-encoding: how messages with the compressed flag are coded; "identity" when absent.
[[nodiscard]] std::string_view message_encoding(const http::Headers& headers);
// grpc-timeout: 1 to 8 digits and one of H M S m u n. nullopt: absent, or not of that form (then there is none).
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_timeout(std::string_view text);
[[nodiscard]] std::optional<std::chrono::nanoseconds> timeout_of(const http::Headers& headers);
// A call that has gone on for this long has come to its deadline, or within a tenth of it and 10 ms: servers and
// clients count from moments of their own. False without a deadline.
[[nodiscard]] bool has_reached_deadline(const http::Headers& headers, std::chrono::nanoseconds gone);
// grpc-status of trailers, or of the headers of a trailers-only response; nullopt: absent or not a number.
[[nodiscard]] std::optional<uint32_t> status_of(const http::Headers& fields);
// grpc-message is percent-encoded: everything but printable ASCII, and '%' itself.
[[nodiscard]] std::string encode_message(std::string_view text);
[[nodiscard]] std::string decode_message(std::string_view text);

}  // namespace tapdeck::grpc
