// A forked process with a deadline, for work that may hang in the kernel or must change its mount namespace: neither
// can be done, or undone, in a thread of the daemon. Not a job queue. Thread: any; the call blocks.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "daemon/base/result.h"

namespace tapdeck::trust {

// Forks, runs `work` there and returns what it returned. The child holds no descriptor of ours but 0-2, and dies with
// the calling thread. `work` may allocate, but must not log, lock what other threads lock, or touch libraries with
// threads. Timeout after `deadline` (the child is killed; where it hangs in the kernel and does not die of it, a later
// call reaps it); Internal when it died of something else.
[[nodiscard]] Result<std::string> run_in_helper(const std::function<Result<std::string>()>& work,
                                                std::chrono::milliseconds deadline);

}  // namespace tapdeck::trust
