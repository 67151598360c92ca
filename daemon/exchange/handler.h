// Handler: what is done with an exchange. A mode is a Handler; recording and faults are Handlers that wrap another.
//
// A Handler answers every exchange it is given: with a response, or with reset(). Its Result says why it failed, after
// the client was told. Handlers belong to a Worker and serve many exchanges at once; state lives in the coroutine.
#pragma once

#include "daemon/exchange/exchange.h"

namespace tapdeck::exchange {

enum class Served { No, Yes };

class Handler {
 public:
  Handler() = default;
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;
  virtual ~Handler() = default;

  // Answers at once if that needs no wait (a replay hit in memory), else leaves the exchange untouched. This is the
  // hot path: no coroutine frame, no allocation.
  virtual Served serve_now(Exchange& /*exchange*/) { return Served::No; }
  virtual net::Task<Result<void>> serve(Exchange& exchange) = 0;
};

}  // namespace tapdeck::exchange
