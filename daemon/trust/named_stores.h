// Trust stores that clients' environments name (SSL_CERT_FILE and its like), read from the processes of a mount
// namespace. Not the variables `run` sets (env.h), and no check of what the names lead to (find_stores does that).
// A variable that a program sets for itself later, and processes that begin later, are not seen. Thread: any.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "daemon/trust/stores.h"

namespace tapdeck::trust {

// Of one environment as /proc/PID/environ has it: "NAME=value" entries, each ended by NUL. SSL_CERT_DIR may name
// several.
[[nodiscard]] std::vector<NamedStore> named_in_environment(std::string_view environment);

// The real user of /proc/PID/status as it is read, and the groups; the overflow user when it says nothing. Not the
// effective one: a program that runs as its owner (setuid) has the environment of whoever ran it.
[[nodiscard]] Namer namer_of(std::string_view status);

// Of all processes of the namespace whose root is `root_fd`; each name once for each user. Those that end meanwhile, or
// may not be read, count as naming nothing. At most 64 names, of 4096 processes.
[[nodiscard]] std::vector<NamedStore> named_by_processes(uint64_t namespace_inode, int root_fd);

}  // namespace tapdeck::trust
