#include "daemon/base/whole_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace tapdeck {
namespace {

enum class Lock : uint8_t { No, Yes };

// Between the name of a file and mkstemp's six letters: nobody's backup is called so.
constexpr std::string_view kUnfinished = ".unfinished-";
constexpr size_t kLetters = 6;

Result<void> sync_folder_of(const std::filesystem::path& path) {
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno(errno, "fsync " + folder);
  return {};
}

Result<void> fill(int fd, std::string_view bytes, mode_t mode, Sync sync, Lock lock) {
  if (lock == Lock::Yes && ::flock(fd, LOCK_EX | LOCK_NB) != 0) return fail_errno(errno, "lock");
  TRY_VOID(write_all(fd, bytes));
  if (::fchmod(fd, mode) != 0) return fail_errno(errno, "chmod");
  if (sync != Sync::No && ::fsync(fd) != 0) return fail_errno(errno, "fsync");
  return {};
}

Result<UniqueFd> replace(const std::filesystem::path& path, std::string_view bytes, mode_t mode, Sync sync, Lock lock) {
  // A name that nobody else takes: several processes may replace the same file at once, and one that was killed may
  // have left a file of the name that its successor of the same number would choose.
  std::string next = path.string() + std::string(kUnfinished) + std::string(kLetters, 'X');
  UniqueFd fd(::mkostemp(next.data(), O_CLOEXEC));  // 0600
  if (!fd) return fail_errno(errno, "create " + path.string());
  auto done = fill(fd.get(), bytes, mode, sync, lock);
  if (done && ::rename(next.c_str(), path.c_str()) != 0) done = fail_errno(errno, "rename");
  if (!done) {
    ::unlink(next.c_str());
    done.error().detail += " " + path.string();
    return std::unexpected(std::move(done).error());
  }
  if (sync == Sync::Name) TRY_VOID(sync_folder_of(path));
  return fd;
}

}  // namespace

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<void> replace_file(const std::filesystem::path& path, std::string_view bytes, mode_t mode, Sync sync) {
  TRY_VOID(replace(path, bytes, mode, sync, Lock::No));
  return {};
}

void remove_unfinished(const std::filesystem::path& path) {
  const std::string prefix = path.filename().string() + std::string(kUnfinished);
  std::error_code error;
  for (std::filesystem::directory_iterator it(path.parent_path(), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() == prefix.size() + kLetters && name.starts_with(prefix)) ::unlink(it->path().c_str());
  }
}

Result<UniqueFd> replace_and_hold(const std::filesystem::path& path, std::string_view bytes, mode_t mode) {
  return replace(path, bytes, mode, Sync::No, Lock::Yes);
}

}  // namespace tapdeck
