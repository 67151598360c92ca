// Where cgroup2 is mounted and where processes are in it. Reads /proc only. Thread: any.
#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/base/result.h"

namespace tapdeck::app {

// The first cgroup2 mount point. Hybrid layouts have it below v1, so never assume /sys/fs/cgroup. Unsupported: none.
[[nodiscard]] Result<std::string> find_cgroup2_mount(const std::string& mounts_file = "/proc/self/mounts");

// The path of the 0:: line of a /proc/PID/cgroup file; begins with '/'. NotFound: no such process, or no cgroup2 line.
[[nodiscard]] Result<std::string> cgroup2_line(const std::string& cgroup_file);

}  // namespace tapdeck::app
