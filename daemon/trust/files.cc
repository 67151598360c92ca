#include "daemon/trust/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/unique_fd.h"

namespace tapdeck::trust {

Result<std::string> read_all(int fd, size_t limit) {
  std::string out;
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read");
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > limit) {
      return fail(Code::TooLarge, "larger than " + std::to_string(limit) + " bytes");
    }
    out.append(buffer, static_cast<size_t>(n));
  }
}

Result<std::string> read_whole_file(const std::filesystem::path& path, size_t limit) {
  // O_NONBLOCK: a fifo under a bundle's name must not stop us.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno(errno, "open " + path.string());
  return read_all(fd.get(), limit);
}

}  // namespace tapdeck::trust
