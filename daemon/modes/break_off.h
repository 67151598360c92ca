// Ending a response that does not become whole, so that the client gets what there is of it first.
#pragma once

#include "daemon/exchange/exchange.h"

namespace tapdeck::modes {

// Waits until the client has what was written (Exchange::deliver()), and resets. Over HTTP/2 a moment lies between:
// clients that read a stream's data and its RST_STREAM in one go give the data up (curl, gRPC). Returns early when the
// client is gone.
enum class Break { Reset, Cut };  // Cut: Exchange::cut()
net::Task<> break_off(exchange::Exchange& exchange, http::ResetCode code, Break how = Break::Reset);

}  // namespace tapdeck::modes
