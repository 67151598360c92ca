// GrpcItem: a recorded gRPC exchange as replay holds it, and what one recording has to do with another.
//
// Immutable after loading, shared by exchanges of one worker. Thread: any (immutable).
#pragma once

#include <memory>
#include <string_view>

#include "daemon/grpc/message_rules.h"
#include "daemon/modes/grpc_script.h"
#include "daemon/modes/replay_item.h"

namespace tapdeck::modes {

struct GrpcItem : ReplayItem {
  GrpcScript script;
};

// Reads it from disk: for the reader pool. Errors: NotFound, Corrupt, Io.
[[nodiscard]] Result<std::shared_ptr<const GrpcItem>> load_grpc_item(
    const store::ExchangeStore& store, std::string_view session, uint64_t id,
    const std::shared_ptr<const grpc::MessageRules>& rules);

// What the client has been sent so far is the same in both.
[[nodiscard]] bool sent_same(const GrpcItem& a, const GrpcItem& b, const GrpcSaid& said);

// Its client left before anybody had said anything.
[[nodiscard]] bool was_left_in_silence(const GrpcItem& item);
// Its client left and had not ended its half before.
[[nodiscard]] bool was_left_speaking(const GrpcItem& item);

// The response ended with its head: nothing but status and fields ("trailers-only").
[[nodiscard]] bool is_head_only(const store::Recording& recording);

// What such a head says about the call, to be said in trailers: another recording's head went out first.
[[nodiscard]] http::Headers status_fields(const http::Headers& head);

}  // namespace tapdeck::modes
