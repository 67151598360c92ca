#include "store/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "daemon/base/unique_fd.h"

namespace tapdeck::store {

uint64_t room_at(const std::string& path) {
  std::error_code error;
  const auto space = std::filesystem::space(path, error);
  if (error) return 0;
  return ::geteuid() == 0 ? space.free : space.available;
}

void Reserve::keep() {
  if (is_kept_ || bytes_ == 0) return;
  struct stat there{};
  const bool is_there = ::stat(path_.c_str(), &there) == 0;
  if (is_there && static_cast<uint64_t>(there.st_blocks) * 512 >= bytes_) {
    is_kept_ = true;
    is_owed_ = false;
    return;
  }
  if (room_at(std::filesystem::path(path_).parent_path()) < 2 * bytes_) return;
  const UniqueFd file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return;
  is_kept_ = ::fallocate(file.get(), 0, 0, static_cast<off_t>(bytes_)) == 0;
  if (!is_kept_) ::unlink(path_.c_str());
  is_owed_ = is_owed_ && !is_kept_;
}

bool Reserve::give_up() {
  is_kept_ = false;
  const bool was_there = ::unlink(path_.c_str()) == 0;
  is_owed_ = is_owed_ || was_there;
  return was_there;
}

}  // namespace tapdeck::store
