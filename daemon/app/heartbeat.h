// Heartbeat: the thread that keeps the kernel's lease while, and only while, every worker's loop turns.
//
// A hung loop, SIGSTOP and SIGKILL all end it; what the kernel does then is the target's policy. Owner: the Engine.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/server/worker.h"

namespace tapdeck::app {

class Heartbeat {
 public:
  // Renews every `interval` (a quarter of the lease); `workers` tick at least twice as often.
  Heartbeat(std::vector<server::Worker*> workers, std::chrono::milliseconds interval, std::function<void()> renew);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // True when every worker has ticked since the last call. For one caller (the watchdog).
  [[nodiscard]] bool all_turned();

 private:
  void run();
  [[nodiscard]] bool advanced(std::vector<uint64_t>& seen) const;

  std::vector<server::Worker*> workers_;
  std::chrono::milliseconds interval_;
  std::function<void()> renew_;
  std::vector<uint64_t> watchdog_seen_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace tapdeck::app
