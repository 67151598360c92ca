// eventually(), for tests that wait for another process or thread. Test support only.
#pragma once

#include <chrono>
#include <thread>

namespace tapdeck::app {

// True as soon as `condition()` is; false when it was not within 20 s.
[[nodiscard]] inline bool eventually(const auto& condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace tapdeck::app
