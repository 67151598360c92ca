// cgroup: small questions to the cgroup2 file system. Creates and removes nothing. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

// The first mount point of cgroup2, wherever it is (hybrid layouts put it below a v1 hierarchy). Unsupported when there
// is none.
[[nodiscard]] Result<std::string> find_cgroup2_mount(const std::string& mounts_file = "/proc/self/mounts");
// The path of the 0:: line of a /proc/PID/cgroup file; begins with '/'. NotFound: no such process, or no cgroup2 line.
[[nodiscard]] Result<std::string> cgroup2_line(const std::string& cgroup_file);
// The directory of the cgroup with this id, as BPF programs and inodes have it. NotFound: it is gone, or may not be
// looked for (CAP_DAC_READ_SEARCH).
[[nodiscard]] Result<std::string> cgroup2_with_id(uint64_t id);
// Opens a directory of a cgroup2 file system. NotFound, InvalidArgument (not cgroup2).
[[nodiscard]] Result<UniqueFd> open_cgroup(const std::string& path);
// Processes in this cgroup and below; those that vanish meanwhile, and those of other process namespaces, are left out.
[[nodiscard]] std::vector<int> cgroup_processes(int cgroup_fd);
// The same with all that is to be known: those that our process namespace does not show are 0 in `out`. Returns 0, or
// the errno of the first cgroup that could not be read; the others are in `out` all the same.
[[nodiscard]] int read_cgroup_processes(int cgroup_fd, std::vector<int>& out);
// Those in this cgroup itself.
[[nodiscard]] std::vector<int> cgroup_own_processes(int cgroup_fd);
// Is a process in it or below? Empty when the cgroup was removed. `events_fd` is an open cgroup.events.
[[nodiscard]] std::optional<bool> cgroup_populated(int events_fd);

// Parsers, exposed for their tests.
[[nodiscard]] std::optional<std::string> parse_cgroup2_mount(const std::string& proc_mounts);
[[nodiscard]] std::optional<std::string> parse_cgroup2_path(const std::string& proc_pid_cgroup);

}  // namespace tapdeck::kernel
