// The listening sockets of the admin server. Blocking set-up only. Thread: any.
#pragma once

#include <filesystem>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::admin {

// Busy names the port that is taken.
[[nodiscard]] Result<UniqueFd> listen_tcp(const Endpoint& endpoint);
// Mode 0600 from its first moment. A socket file nobody listens on is replaced; Busy when somebody does.
[[nodiscard]] Result<UniqueFd> listen_unix(const std::filesystem::path& path);
// Is the peer of an accepted unix connection root or our own user?
[[nodiscard]] bool is_trusted_peer(int fd);

}  // namespace tapdeck::admin
