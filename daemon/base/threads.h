// Threads where the system may refuse to start one: a pids cgroup (pids.max, systemd's TasksMax) or `ulimit -u` is
// full.
//
// std::thread throws then, which nobody here expects. At the start the process is told to be impossible, before
// anything is begun (check_threads); what could do without goes on without (start_thread). Thread: any.
#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "daemon/base/result.h"

namespace tapdeck {

// Exhausted, with what to raise.
[[nodiscard]] Error no_thread(const std::system_error& refused);

// Error Exhausted: the system refuses.
template <class Function>
[[nodiscard]] Result<std::thread> start_thread(Function&& function) {
  try {
    return std::thread(std::forward<Function>(function));
  } catch (const std::system_error& refused) {
    return std::unexpected(no_thread(refused));
  }
}

// How many of `wanted` could be started now: starts and ends them.
[[nodiscard]] unsigned threads_to_spare(unsigned wanted);
// Error Exhausted: not as many.
[[nodiscard]] Result<void> check_threads(unsigned wanted);

// From now on a refused thread, or a descriptor that a library was refused, ends the process with a line on stderr and
// `status`, not by abort(), when nobody catches it.
void end_without_threads(int status);

}  // namespace tapdeck
