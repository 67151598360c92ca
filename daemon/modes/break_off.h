// Ending a response that does not become whole, so that the client gets what there is of it first.
#pragma once

#include <chrono>
#include <string_view>

#include "daemon/exchange/exchange.h"

namespace tapdeck::modes {

enum class Break { Reset, Cut };  // Cut: Exchange::cut()

// In replay: waits until the client has what was written (Exchange::deliver()), and resets. Over HTTP/2 a moment lies
// between: clients that read a stream's data and its RST_STREAM in one go give the data up (curl, gRPC). Returns early
// when the client is gone.
net::Task<> break_off(exchange::Exchange& exchange, http::ResetCode code, Break how = Break::Reset);

// While an origin is asked: waits until what was written is on its way (Exchange::flush()), no longer. The origin's
// connection and the recording wait for whoever is waited for here, and a client that does not read is to be told soon.
net::Task<> pass_on_break(exchange::Exchange& exchange, http::ResetCode code, Break how = Break::Reset);

// In replay, where the client left: nothing more comes until it does so again. Over HTTP/1 also by ending its side;
// what it says meanwhile is read by nobody. One that stays for `patience` is reset, and Facts::error_detail says why.
net::Task<Result<void>> wait_to_be_left(exchange::Exchange& exchange, std::chrono::milliseconds patience);

// What Facts::error_detail says of a client that was waited for in vain.
inline constexpr std::string_view kLeftOnTape = "its client had left here on tape";

// Waits where nothing has been sent. True: the client is still there behind `patience` and can be answered. Over HTTP/1
// one that has ended its side is not.
net::Task<bool> stays_for(exchange::Exchange& exchange, std::chrono::microseconds patience);

}  // namespace tapdeck::modes
