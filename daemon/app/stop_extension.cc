#include "daemon/app/stop_extension.h"

#include <pthread.h>
#include <systemd/sd-daemon.h>

namespace tapdeck::app {

StopExtension::StopExtension(std::chrono::milliseconds limit, std::chrono::milliseconds every,
                             std::chrono::microseconds grace)
    : thread_([this, limit, every, grace] {
        pthread_setname_np(pthread_self(), "stop-extension");
        const auto until = std::chrono::steady_clock::now() + limit;
        std::unique_lock lock(mutex_);
        do {
          ::sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%lld", static_cast<long long>(grace.count()));
        } while (!wake_.wait_for(lock, every, [this] { return done_; }) && std::chrono::steady_clock::now() < until);
      }) {}

StopExtension::~StopExtension() {
  {
    const std::scoped_lock lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

}  // namespace tapdeck::app
