#include "daemon/app/stop_extension.h"

#include <pthread.h>
#include <systemd/sd-daemon.h>

#include <utility>

#include "daemon/base/log.h"
#include "daemon/base/threads.h"

namespace tapdeck::app {
namespace {

void tell(std::chrono::microseconds more) {
  ::sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%lld", static_cast<long long>(more.count()));
}

}  // namespace

StopExtension::StopExtension(std::chrono::milliseconds limit, std::chrono::milliseconds every,
                             std::chrono::microseconds grace) {
  auto started = start_thread([this, limit, every, grace] {
    pthread_setname_np(pthread_self(), "stop-extension");
    const auto until = std::chrono::steady_clock::now() + limit;
    std::unique_lock lock(mutex_);
    do {
      tell(grace);
    } while (!wake_.wait_for(lock, every, [this] { return done_; }) && std::chrono::steady_clock::now() < until);
  });
  if (started) {
    thread_ = std::move(*started);
    return;
  }
  tell(limit + grace);  // once, for all of it
  log::warn("stop.extension", "systemd is told once how long the stop may last", {{"error", started.error().detail}});
}

StopExtension::~StopExtension() {
  {
    const std::scoped_lock lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace tapdeck::app
