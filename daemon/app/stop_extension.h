// StopExtension: while it lives, systemd is told every so often that the stop goes on (EXTEND_TIMEOUT_USEC), so that
// TimeoutStopSec of the unit does not cut short what limits.drain_timeout allows. Owner: serve; a thread of its own.
#pragma once

#include <chrono>

#include "daemon/app/repeated.h"

namespace tapdeck::app {

class StopExtension {
 public:
  // Told at once and then each `every`, for `limit`; each time systemd gives `grace` more. So a stop that hangs is
  // killed `limit` and `grace` after its begin, or when TimeoutStopSec is over, whichever is later. Without systemd
  // nothing happens. Where no thread can be started it is told once, for all of that time. The grace is what the unit's
  // TimeoutStopSec has above the default drain_timeout.
  explicit StopExtension(std::chrono::milliseconds limit, std::chrono::milliseconds every = std::chrono::seconds(5),
                         std::chrono::microseconds grace = std::chrono::seconds(15));

 private:
  Repeated telling_;
};

}  // namespace tapdeck::app
