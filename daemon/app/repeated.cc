#include "daemon/app/repeated.h"

#include <pthread.h>

#include <utility>

#include "daemon/base/threads.h"

namespace tapdeck::app {

Result<void> Repeated::start(const char* name, std::chrono::milliseconds pause, Action action) {
  TRY(started, start_thread([this, name, pause, act = std::move(action)] {
        pthread_setname_np(pthread_self(), name);
        std::unique_lock lock(mutex_);
        auto next = std::optional(pause);
        while (next && !wake_.wait_for(lock, *next, [this] { return done_; })) next = act();
      }));
  thread_ = std::move(started);
  return {};
}

Repeated::~Repeated() {
  {
    const std::scoped_lock lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace tapdeck::app
