// A cgroup and the cgroups below it: who lives there, the end of all of them, its removal. Not whose it is: that is
// run_cgroup.h. Thread: any.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "daemon/base/result.h"

namespace tapdeck::app {

// The cgroups directly below, absolute.
[[nodiscard]] std::vector<std::string> cgroups_below(const std::string& cgroup);
// Of all processes in it and below.
[[nodiscard]] std::vector<pid_t> pids_in(const std::string& cgroup);
// Also true when it is gone.
[[nodiscard]] bool wait_until_empty(const std::string& cgroup, std::chrono::milliseconds limit);
// SIGKILL to everything in it and below, forks included, and waits until it is empty; false when that takes longer, as
// with processes in uninterruptible sleep.
bool kill_all_in(const std::string& cgroup, std::chrono::milliseconds limit);
// It and what is below; tries for a second while the kernel still reaps. Busy when processes live in it.
[[nodiscard]] Result<void> remove_cgroup(const std::string& cgroup);

}  // namespace tapdeck::app
