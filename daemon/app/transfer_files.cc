#include "daemon/app/transfer_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

#include "daemon/base/processes.h"
#include "daemon/base/whole_file.h"

namespace tapdeck::app {
namespace {

constexpr std::string_view kBefore = "import-";
constexpr std::string_view kBehind = ".tapdeck";

// Whose it is, by its name; 0: it is no such file.
int pid_of(std::string_view name) {
  if (!name.starts_with(kBefore) || !name.ends_with(kBehind) || name.size() <= kBefore.size() + kBehind.size())
    return 0;
  name = name.substr(kBefore.size(), name.size() - kBefore.size() - kBehind.size());
  int pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  return error == std::errc() && end == name.data() + name.size() && pid > 0 ? pid : 0;
}

Result<void> copy(int in, int out, const std::string& shown) {
  std::vector<char> buffer(1 << 18);
  while (true) {
    const ssize_t n = ::read(in, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read " + shown);
    if (n == 0) return {};
    TRY_VOID(write_all(out, {buffer.data(), static_cast<size_t>(n)}));
  }
}

}  // namespace

Result<UniqueFd> nameless_file(const std::filesystem::path& directory) {
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  // Not every file system makes such a file.
  std::string name = (directory / "tapdeck-export-XXXXXX").string();
  fd = UniqueFd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) return fail_errno(errno, "make " + name);
  if (::unlink(name.c_str()) != 0) return fail_errno(errno, "remove " + name);
  return fd;
}

Result<StagedImport> StagedImport::copy_of(const std::string& from, const std::string& shown,
                                           const std::filesystem::path& state_dir) {
  const UniqueFd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return fail_errno(errno, "read " + shown);
  std::filesystem::path path = state_dir / (std::string(kBefore) + std::to_string(::getpid()) + std::string(kBehind));
  UniqueFd out(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out) return fail_errno(errno, "copy " + shown + " to " + path.string());
  ::flock(out.get(), LOCK_EX | LOCK_NB);
  StagedImport staged(std::move(path), std::move(out));
  TRY_VOID(copy(in.get(), staged.held_.get(), shown));
  return staged;
}

StagedImport::~StagedImport() {
  if (held_) ::unlink(path_.c_str());
}

void remove_left_imports(const std::filesystem::path& state_dir) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(state_dir, error)) {
    const int pid = pid_of(entry.path().filename().string());
    // Of another process namespace's we do not see who lives.
    if (pid != 0 && !is_alive(pid) && !is_held(entry.path().string())) ::unlink(entry.path().c_str());
  }
}

}  // namespace tapdeck::app
