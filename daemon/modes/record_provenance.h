// What a recording says of where its exchange came from, where it went, and how long that took.
//
// Not its key, nor how it ended (record.cc). Thread: the worker's.
#pragma once

#include <string_view>

#include "daemon/exchange/exchange.h"
#include "daemon/modes/runtime_state.h"
#include "store/record.h"

namespace tapdeck::modes {

// Known when the exchange begins.
void fill_provenance(store::Provenance& to, exchange::Exchange& exchange, const TargetState& target,
                     std::string_view route);
// Known when it is over: the timings, and the handshake with an origin that was dialled for it.
void complete_provenance(store::Provenance& to, exchange::Exchange& exchange);

}  // namespace tapdeck::modes
