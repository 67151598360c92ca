// What /proc says of other processes. Not for our own children: those are waited for. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/base/unique_fd.h"

namespace tapdeck {

// Runs, or could run again: a zombie that nobody has waited for yet is dead, unless only its main thread ended. Also
// true of what may not be looked at.
[[nodiscard]] bool is_alive(int pid);

// When it was started, in clock ticks since boot: tells a process from a later one of the same number. 0: not alive.
[[nodiscard]] uint64_t start_time(int pid);

// A number of /proc/PROCESS/stat by its place in proc(5), from 4 on; PROCESS is a pid or "self". 0: not alive.
[[nodiscard]] uint64_t stat_field(const std::string& process, int number);

// Who uses a file or directory may hold a lock on it as long as it lives, which processes in other process namespaces
// see too. The descriptor keeps it; not valid: there is nothing at `path`, or somebody else has it.
[[nodiscard]] UniqueFd hold(const std::string& path);
// Somebody does, or it may not be looked at: not being able to open it says nothing of who lives.
[[nodiscard]] bool is_held(const std::string& path);

}  // namespace tapdeck
