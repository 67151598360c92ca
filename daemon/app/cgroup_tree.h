// A cgroup and the cgroups below it: who lives there, the end of all of them, its removal. Not whose it is: that is
// run_cgroup.h. Thread: any.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "daemon/base/result.h"

namespace tapdeck::app {

// Whoever lifts something must not take "could not look" (no descriptor left, say) for "nobody there".
enum class Population { Nobody, Somebody, Unknown };

// The cgroups directly below, absolute.
[[nodiscard]] std::vector<std::string> cgroups_below(const std::string& cgroup);
// Of all processes in it and below; those that may be looked at.
[[nodiscard]] std::vector<pid_t> pids_in(const std::string& cgroup);
// Until nobody lives in it and below, at most this long. Nobody: also when it is gone.
[[nodiscard]] Population wait_until_empty(const std::string& cgroup, std::chrono::milliseconds limit);
// SIGKILL to everything in it and below, forks included, and waits until nobody lives there. Timeout: that takes
// longer, as with processes in uninterruptible sleep. Any other error, at once: they cannot be killed from here, or not
// seen.
Result<void> kill_all_in(const std::string& cgroup, std::chrono::milliseconds limit);
// It and what is below; tries for a second while the kernel still reaps. Busy when processes live in it.
[[nodiscard]] Result<void> remove_cgroup(const std::string& cgroup);

}  // namespace tapdeck::app
