#include "daemon/trust/in_root.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tapdeck::trust {

Result<UniqueFd> open_in_root(int root_fd, const std::string& path, int flags, Symlinks symlinks) {
  open_how how{};
  how.flags = static_cast<unsigned>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  if (symlinks == Symlinks::Refused) how.resolve |= RESOLVE_NO_SYMLINKS;
  for (int tries = 0;; ++tries) {
    const long fd = ::syscall(SYS_openat2, root_fd, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: a rename or mount raced with a ".." in the path (openat2(2)).
    if ((errno != EAGAIN && errno != EINTR) || tries >= 16) return fail_errno(errno, "open " + path);
  }
}

Result<std::string> path_below(int root_fd, int fd) {
  const auto link_of = [](int which) -> Result<std::string> {
    char text[4096];
    const std::string link = "/proc/self/fd/" + std::to_string(which);
    const ssize_t n = ::readlink(link.c_str(), text, sizeof text);
    if (n < 0) return fail_errno(errno, "readlink " + link);
    if (static_cast<size_t>(n) == sizeof text) return fail(Code::TooLarge, "path of " + link);
    return std::string(text, static_cast<size_t>(n));
  };
  TRY(root, link_of(root_fd));
  TRY(path, link_of(fd));
  if (root == "/") root.clear();
  if (!path.starts_with(root) || (path.size() > root.size() && path[root.size()] != '/')) {
    return fail(Code::NotFound, path + " is not below " + root);
  }
  path.erase(0, root.size());
  if (path.empty()) path = "/";
  if (path.ends_with(" (deleted)")) return fail(Code::NotFound, path);
  // They go line by line into reports; no real store is named like that.
  const bool plain = std::none_of(path.begin(), path.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (!plain) return fail(Code::InvalidArgument, "control character in a path");
  return path;
}

Result<UniqueFd> reopen_file(int place) {
  struct stat status{};
  if (::fstat(place, &status) != 0) return fail_errno(errno, "stat");
  if (!S_ISREG(status.st_mode)) return fail(Code::Unsupported, "not a file");
  const std::string link = "/proc/self/fd/" + std::to_string(place);
  UniqueFd file(::open(link.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file) return fail_errno(errno, "open");
  return file;
}

Result<uint64_t> mount_id_of(int fd) {
  struct statx status{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0) return fail_errno(errno, "statx");
  if ((status.stx_mask & STATX_MNT_ID) == 0) return fail(Code::Unsupported, "the number of a mount (Linux 5.8)");
  return status.stx_mnt_id;
}

}  // namespace tapdeck::trust
