// Reads the body of a request into the question it is part of, all at once or as long as it comes without a pause.
//
// Owner: the ReplayHandler's coroutine. Thread: the worker's.
#pragma once

#include <optional>

#include "daemon/exchange/exchange.h"
#include "daemon/modes/question.h"
#include "daemon/modes/replayed_request.h"
#include "daemon/net/deadline.h"

namespace tapdeck::modes {

// How far the body of a request has been read.
struct BodyReading {
  bool complete = false;
  std::optional<Error> failure;
  [[nodiscard]] bool is_over() const { return complete || failure; }
};

// To its end, or first failure. `patience`, if any, is set anew before each piece.
net::Task<> read_body(exchange::Exchange& exchange, Asking& asking, BodyReading& reading,
                      net::Deadline* patience = nullptr);
// Until the client pauses for as long as a recording waits for the rest of a body whose answer is there (kRestOfBody).
net::Task<> read_while_it_comes(exchange::Exchange& exchange, Asking& asking, BodyReading& reading);

// How far a body that is kept came.
enum class Kept { Whole, TooLong, Paused };
// As read_while_it_comes(), into memory: until the client pauses for `pause`, or more than `limit` bytes are kept.
net::Task<Result<Kept>> keep_while_it_comes(ReplayedRequest& request, Asking& asking, size_t limit,
                                            std::chrono::milliseconds pause);
struct Patience {
  net::Deadline* deadline = nullptr;
  std::chrono::milliseconds pause{};
};
// To its end, or until more than `limit` bytes are kept. A deadline is set anew behind each piece.
net::Task<Result<Kept>> keep_body(ReplayedRequest& request, Asking& asking, size_t limit, Patience patience = {});

}  // namespace tapdeck::modes
