// Opening files below another root (a container's) without being led elsewhere: what is linked, renamed or mounted
// there meanwhile is in other hands. Whoever has looked at a file goes on with its descriptor: the path may be
// another's by then. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::trust {

enum class Symlinks { Followed, Refused };

// Opens `path` below `root_fd` without ever leaving it. `flags` as for open(2); O_CLOEXEC is added.
[[nodiscard]] Result<UniqueFd> open_in_root(int root_fd, const std::string& path, int flags,
                                            Symlinks symlinks = Symlinks::Followed);

// The path of an open file as seen from `root_fd`: no symlinks, begins with '/'. NotFound when it is not below. For
// people and for comparing: it may be another file's at once.
[[nodiscard]] Result<std::string> path_below(int root_fd, int fd);

// The very file that `place` (O_PATH) holds, for reading. Unsupported when it is not a regular one: devices and fifos
// are never opened. Needs the /proc of this process.
[[nodiscard]] Result<UniqueFd> reopen_file(int place);

// Of the mount that an open file lies on: the first field of mountinfo. Not given to another as long as the file is
// open. Linux 5.8.
[[nodiscard]] Result<uint64_t> mount_id_of(int fd);

}  // namespace tapdeck::trust
