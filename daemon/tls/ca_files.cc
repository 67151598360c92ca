#include "daemon/tls/ca_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace tapdeck::tls {

namespace {

constexpr off_t kMaxFile = 1 << 20;

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<UniqueFd> lock_folder_of(const std::string& path) {
  const std::string folder = folder_of(path);
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "CA folder " + folder);
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(errno, "lock CA folder " + folder);
  }
  return fd;
}

Result<std::optional<std::string>> read_small_file(const std::string& path, Secrecy secrecy) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) return fail_errno(errno, "CA file " + path);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(errno, "CA file " + path);
  if (!S_ISREG(info.st_mode)) return fail(Code::InvalidConfig, "CA file " + path + ": not a regular file");
  if (secrecy == Secrecy::OwnerOnly && (info.st_mode & 077) != 0) {
    return fail(Code::Permission, "CA key " + path +
                                      ": readable by others than its owner; chmod 600 it, and make a new "
                                      "CA if somebody may have read it");
  }
  if (info.st_size > kMaxFile) return fail(Code::InvalidConfig, "CA file " + path + ": larger than 1 MiB");
  std::string content(static_cast<size_t>(info.st_size), '\0');
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = ::read(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "CA file " + path);
    if (n == 0) content.resize(done);
    done += static_cast<size_t>(n);
  }
  return content;
}

}  // namespace tapdeck::tls
