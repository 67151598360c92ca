// Service: the composition (workers, store, capture, targets) as `tapdeck serve` drives it. Defined by service.cc; this
// header is all that serve.cc and the signal handling need to know of it.
// Owner: serve. Thread: the main one, but for what says otherwise.
#pragma once

#include <chrono>
#include <memory>

#include "daemon/app/control.h"
#include "daemon/app/paths.h"
#include "daemon/base/metrics.h"
#include "daemon/config/config.h"

namespace tapdeck::app {

class Service : public Runtime {
 public:
  // What the admin API may see; `runtime` is this. Valid as long as the Service.
  [[nodiscard]] virtual AppControl::Parts parts() = 0;

  // Begins to accept and attaches the kept and configured targets. Errors leave nothing running.
  virtual Result<void> start() = 0;
  // True when every worker's loop has turned since the call before: the watchdog is fed only then. Any thread.
  [[nodiscard]] virtual bool all_alive() = 0;
  // Stops accepting, lets open exchanges end for at most `limit`, closes the rest, writes what the store still has,
  // detaches (fail-closed targets stay refusing).
  virtual void drain(std::chrono::milliseconds limit) = 0;
  // One short line for `systemctl status`. Any thread.
  [[nodiscard]] virtual std::string status_line() = 0;
};

// Opens store and CA, in directories that it makes, and prepares capture and workers; nothing is captured before
// start(). Errors name what is missing and what still works without it; without the privileges to capture nothing is
// made. `metrics` outlives the Service.
[[nodiscard]] Result<std::unique_ptr<Service>> make_service(const config::Config& config, const Paths& paths,
                                                            MetricsRegistry& metrics);

}  // namespace tapdeck::app
