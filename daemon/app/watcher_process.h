// What the small processes beside a `tapdeck run` (its guard, the keeper of its namespace) have in common: they outlive
// the run by a moment, to end what it left behind, and hold nothing of it meanwhile. Thread: the one they have.
#pragma once

#include <string_view>
#include <utility>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {

// The descriptor of a watcher's own end of its socket.
inline constexpr int kWatcherSocket = 3;

// A pair of connected SEQPACKET sockets above the standard descriptors: into standard error, closed by whoever started
// us, people write. First the end of the run, then that of the watcher.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> watcher_sockets();

// In the child: a session of its own, so that neither the terminal nor a signal to our process group reaches it; every
// signal blocked that can be; no descriptor but /dev/null for 0 to 2 and `socket` as kWatcherSocket; "/" as directory;
// and a name without ours: `pkill -9 tapdeck`, with -f too, must not end it before the run, or with it. Who goes by the
// executable (pidof, fuser) or by the cgroup still finds it.
void become_watcher(int socket, std::string_view name);

// recv(2), again when interrupted.
[[nodiscard]] ssize_t receive_from(int fd, char* buffer, size_t size);
// The other end is closed. Blocks until something comes; whatever else comes says nothing of that.
[[nodiscard]] bool has_closed(int fd);

}  // namespace tapdeck::app
