#include "daemon/trust/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
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

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<void> replace_file(const std::filesystem::path& path, std::string_view bytes, mode_t mode) {
  // Several runs may write the same name at once: the temporary name is this process's and call's own.
  static std::atomic<unsigned> serial{0};
  const std::string temporary =
      path.string() + "." + std::to_string(::getpid()) + "." + std::to_string(serial.fetch_add(1)) + ".tmp";
  const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd) return fail_errno(errno, "create " + temporary);
  auto written = write_all(fd.get(), bytes);
  // fchmod: the umask must not decide whether a command run as another user can read its trust.
  if (written && ::fchmod(fd.get(), mode) != 0) written = fail_errno(errno, "chmod");
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = fail_errno(errno, "rename");
  if (!written) {
    ::unlink(temporary.c_str());
    written.error().detail += " " + path.string();
    return written;
  }
  return {};
}

}  // namespace tapdeck::trust
