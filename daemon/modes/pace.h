// Pacer: when the next piece of a replayed response may leave: at once, at the recorded moment, or N times as fast.
//
// Moments are counted from the begin of the exchange, the recorded one's and ours, so that the wait for the first byte
// is kept as well. Owner: one exchange. Thread: the worker's.
#pragma once

#include <cstdint>

#include "daemon/config/config.h"
#include "daemon/exchange/exchange.h"

namespace tapdeck::modes {

// The clock a Pacer waits by. The default is the worker's timer; tests have their own.
class Sleeper {
 public:
  Sleeper() = default;
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  virtual ~Sleeper() = default;
  [[nodiscard]] virtual exchange::Clock::time_point now() const { return exchange::Clock::now(); }
  // Returns at that moment; Cancelled when the exchange was given up meanwhile (the client left).
  virtual net::Task<Result<void>> until(exchange::Clock::time_point moment);
};

// What a piece waits for beside the time: what its client had said before it.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  virtual ~Gate() = default;
  // Returns when what was recorded at that moment may leave.
  virtual net::Task<Result<void>> reach(exchange::Exchange& exchange, uint64_t microseconds) = 0;
  // The same for the end of the response.
  virtual net::Task<Result<void>> reach_end(exchange::Exchange& exchange) = 0;
};

class Pacer {
 public:
  // `factor` 0: at once; 1: as recorded; 2: twice as fast. `began`: of the exchange that is answered now. `gate`: null
  // where the client is not waited for.
  Pacer(double factor, exchange::Clock::time_point began, Sleeper& sleeper, Gate* gate = nullptr)
      : factor_(factor), began_(began), sleeper_(sleeper), gate_(gate) {}

  // Nothing is ever waited for.
  [[nodiscard]] bool is_instant() const { return factor_ <= 0 && gate_ == nullptr; }
  // Flushes what was written and waits for the client, and for the recorded moment. Does nothing when that has passed.
  net::Task<Result<void>> reach(exchange::Exchange& exchange, uint64_t microseconds);
  // The same for the end of the response.
  net::Task<Result<void>> reach_end(exchange::Exchange& exchange, uint64_t microseconds);

 private:
  double factor_;
  exchange::Clock::time_point began_;
  Sleeper& sleeper_;
  Gate* gate_;
};

// The factor a route asks for; 0 without one.
[[nodiscard]] double pace_of(const config::Route* route);

}  // namespace tapdeck::modes
