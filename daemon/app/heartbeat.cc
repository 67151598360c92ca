#include "daemon/app/heartbeat.h"

#include <pthread.h>

#include <utility>

namespace tapdeck::app {

Heartbeat::Heartbeat(std::vector<server::Worker*> workers, std::chrono::milliseconds interval,
                     std::function<void()> renew)
    : workers_(std::move(workers)),
      interval_(interval),
      renew_(std::move(renew)),
      watchdog_seen_(workers_.size(), 0),
      thread_([this] { run(); }) {}

Heartbeat::~Heartbeat() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

bool Heartbeat::advanced(std::vector<uint64_t>& seen) const {
  bool all = true;
  for (size_t i = 0; i < workers_.size(); ++i) {
    const uint64_t now = workers_[i]->ticks();
    if (now == seen[i]) all = false;
  }
  if (!all) return false;
  for (size_t i = 0; i < workers_.size(); ++i) seen[i] = workers_[i]->ticks();
  return true;
}

bool Heartbeat::all_turned() {
  return advanced(watchdog_seen_);
}

void Heartbeat::run() {
  pthread_setname_np(pthread_self(), "heartbeat");
  std::vector<uint64_t> seen(workers_.size(), 0);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (advanced(seen)) renew_();
    wake_.wait_for(lock, interval_, [this] { return stopping_; });
  }
}

}  // namespace tapdeck::app
