// eventually(): the tests' only way to wait for another thread or process. A test names what it waits for and never
// sleeps for a guessed time. For tests alone. Thread: any; blocks the caller.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace tapdeck {

// True as soon as `condition()` is, false when it was not within `patience`. Asked at once, then less and less often,
// up to every 10 ms, and once more at the end.
[[nodiscard]] bool eventually(std::chrono::milliseconds patience, const auto& condition) {
  const auto end = std::chrono::steady_clock::now() + patience;
  std::chrono::microseconds pause(100);
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return condition();
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::microseconds>(2 * pause, std::chrono::milliseconds(10));
  }
  return true;
}

// Within 20 s: what should take a moment, on a machine that does much else.
[[nodiscard]] bool eventually(const auto& condition) {
  return eventually(std::chrono::seconds(20), condition);
}

}  // namespace tapdeck
