// What a gRPC client is told when no recording answers its call, or its deadline passed: a status, which gRPC libraries
// show to the application, where a 502 with JSON would be "unavailable" and tried again. Pure but for sending.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/exchange/exchange.h"
#include "daemon/grpc/call.h"
#include "daemon/modes/grpc_script.h"
#include "daemon/modes/miss.h"

namespace tapdeck::modes {

struct GrpcStatus {
  uint32_t code = 0;
  std::string message;
};

// Ends the call: in trailers when the head was sent, else as a trailers-only response (HTTP 200).
enum class StatusIn : uint8_t { Head, Trailers };
Result<void> send_status(exchange::Exchange& exchange, const GrpcStatus& status, StatusIn where);

// The miss JSON (miss.h) as short as fields of 8 KiB allow, the default of gRPC clients: without the nearest recording
// when it would be too long.
[[nodiscard]] std::string miss_text(const Miss& miss);
// The nearest recording differs in its body alone.
[[nodiscard]] bool is_body_alone(const Miss& miss);
// What calls the body of the nearest recordings calls it what it is in a call's key: "grpc message 1".
void name_first_message(Miss& miss);
// Where the client left the recording it followed: "grpc message 3", or "end of the client's messages".
[[nodiscard]] store::Nearest diverged(uint64_t recording, const GrpcScript& script, const GrpcSaid& said);

}  // namespace tapdeck::modes
