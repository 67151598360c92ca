// sock_diag: which TCP connections existed before a target was attached. They cannot be captured any more; they are
// counted so that nothing is silent. Acts on the calling thread's network namespace. Thread: any.
#pragma once

#include <cstdint>
#include <set>

#include "daemon/base/result.h"

namespace tapdeck::kernel {

// Ids of this cgroup and of all below.
[[nodiscard]] std::set<uint64_t> cgroup_ids_below(int cgroup_fd);

// Established or connecting outbound TCP connections of sockets that belong to one of `cgroup_ids`. Loopback is left
// out, and connections whose local port has a listener: those came from outside.
[[nodiscard]] Result<uint64_t> count_outbound_connections(const std::set<uint64_t>& cgroup_ids);

}  // namespace tapdeck::kernel
