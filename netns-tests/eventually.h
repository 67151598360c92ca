// eventually(): the lab's only way to wait. Polls a condition until it holds or the deadline passes; a test names the
// event it waits for and never sleeps for a guessed time. Thread: any; blocks the caller.
#pragma once

#include <chrono>
#include <thread>

namespace tapdeck::lab {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

// True as soon as `condition()` is true, false when `deadline` passed. Asks every 10 ms, and once more at the end.
template <class Condition>
[[nodiscard]] bool eventually(std::chrono::milliseconds deadline, Condition condition) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return condition();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace tapdeck::lab
