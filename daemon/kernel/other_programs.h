// Programs of others on a cgroup, above and below it: of other tapdecks, and those that filter its packets. Of two on
// the very same cgroup only the first sees a connect: it rewrites the destination to its own listener on loopback,
// which the second leaves alone. Of two at different heights the lower one sees it, as it does when one tapdeck has
// both; that is how `run` inside a target works. Looks only. Thread: control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "daemon/base/result.h"

namespace tapdeck::kernel {

using ProgramIds = std::set<uint32_t>;

// Of the connect programs that some tapdeck attached to this very directory. Empty too when we may not know.
[[nodiscard]] ProgramIds connect_programs_on(int cgroup_fd);

// There are connect programs on it that are not among `ours`.
[[nodiscard]] bool is_taken(int cgroup_fd, const ProgramIds& ours);

// Busy, naming who has it, when there are connect programs on `cgroup_path` that are not among `ours`. Waits up to
// 100 ms for those of a process that has just ended.
[[nodiscard]] Result<void> check_not_taken(const std::string& cgroup_path, int cgroup_fd, const ProgramIds& ours);

// "pid 42 (tapdeck)": a process that has one of them open. nullopt: none that we can see.
[[nodiscard]] std::optional<std::string> holder_of(const ProgramIds& programs);

// For people, one sentence: whose programs are on a directory below, or above; empty: nobody's.
[[nodiscard]] std::string others_below(const std::string& cgroup_path, const ProgramIds& ours);
[[nodiscard]] std::string others_above(const std::string& cgroup_path, const ProgramIds& ours);

// For people, one sentence: programs of somebody else see the packets of this cgroup, and may drop them (systemd's
// IPAddressAllow= and IPAddressDeny=, for one). They see loopback where the client wanted an origin, and not what is
// sent for it.
[[nodiscard]] std::string filters_on(int cgroup_fd);

}  // namespace tapdeck::kernel
