// Keeps the programs on a cgroup attached beyond the death of the process that attached them. Attaches nothing.
// Thread: any.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

// Every link on this very directory: its program stays as long as the descriptor does (unless it is detached by force).
// Empty when there is none or the kernel does not let us look (CAP_SYS_ADMIN).
[[nodiscard]] std::vector<UniqueFd> hold_programs_on(const std::string& cgroup_path);

}  // namespace tapdeck::kernel
