// Repeated: does something every so often beside what the caller is busy with, until it is destroyed, which waits for
// no pause. A thread of its own: what the caller does blocks. Owner: whoever is busy.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "daemon/base/result.h"

namespace tapdeck::app {

class Repeated {
 public:
  // Returns how long to pause until the next time; nullopt: it was the last. On the thread of this.
  using Action = std::function<std::optional<std::chrono::milliseconds>()>;

  Repeated() = default;
  ~Repeated();
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;

  // Once. Acts first after `pause`. `name`: of the thread, at most 15 bytes. Error Exhausted: no thread can be started.
  [[nodiscard]] Result<void> start(const char* name, std::chrono::milliseconds pause, Action action);

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace tapdeck::app
