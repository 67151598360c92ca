#include "daemon/app/kept_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "daemon/base/unique_fd.h"

namespace tapdeck::app {
namespace {

Result<void> write_and_sync(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, "create " + path);
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write " + path);
    done += static_cast<size_t>(n);
  }
  if (::fsync(fd.get()) != 0) return fail_errno(errno, "fsync " + path);
  return {};
}

}  // namespace

Result<void> replace_on_disk(const std::filesystem::path& file, std::string_view text) {
  const std::string temporary = file.string() + ".tmp";
  TRY_VOID(write_and_sync(temporary, text));
  if (::rename(temporary.c_str(), file.c_str()) != 0) return fail_errno(errno, "rename " + temporary);
  // The rename itself must survive a power cut, too.
  const UniqueFd directory(::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) return fail_errno(errno, "fsync " + file.parent_path().string());
  return {};
}

}  // namespace tapdeck::app
