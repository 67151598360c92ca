#include "daemon/app/stop_extension.h"

#include <systemd/sd-daemon.h>

#include <optional>

#include "daemon/base/log.h"

namespace tapdeck::app {
namespace {

void tell(std::chrono::microseconds more) {
  ::sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%lld", static_cast<long long>(more.count()));
}

}  // namespace

StopExtension::StopExtension(std::chrono::milliseconds limit, std::chrono::milliseconds every,
                             std::chrono::microseconds grace) {
  const auto until = std::chrono::steady_clock::now() + limit;
  const auto started = telling_.start("stop-extension", every, [until, every, grace] {
    if (std::chrono::steady_clock::now() >= until) return std::optional<std::chrono::milliseconds>();
    tell(grace);
    return std::optional(every);
  });
  tell(started ? grace : std::chrono::microseconds(limit) + grace);  // else once, for all of it
  if (started) return;
  log::warn("stop.extension", "systemd is told once how long the stop may last", {{"error", started.error().detail}});
}

}  // namespace tapdeck::app
