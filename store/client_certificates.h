// Origins that ask for client certificates. What goes to them is passed on as bytes, since only the client can answer
// that: a session that knows it can say why nothing of them is on tape. Thread: any.
#pragma once

#include <string_view>

#include "store/match_key.h"
#include "store/recording_builder.h"

namespace tapdeck::store {

class ExchangeStore;

// That the origin asked. Kept where its facts are. `host` as in origin_write().
[[nodiscard]] PendingWrite certificate_request_write(const Take& take, std::string_view host, uint16_t port);

// The origin of that request did, when something was recorded in this session. Reads from disk; false on errors.
[[nodiscard]] bool asks_for_certificates(const ExchangeStore& store, std::string_view session, const KeyParts& asked);

}  // namespace tapdeck::store
