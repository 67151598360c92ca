#include "daemon/trust/store_checks.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "daemon/trust/files.h"
#include "daemon/trust/in_root.h"
#include "daemon/trust/merge.h"

namespace tapdeck::trust {
namespace {

constexpr size_t kMaxNamedEntries = 8192;  // no more are copied

// `bit`: S_IROTH or S_IXOTH. Asking the kernel with setfsuid would need CAP_SETUID.
bool may(const Namer& by, const struct stat& status, mode_t bit) {
  if (status.st_uid == by.uid) return (status.st_mode & (bit << 6)) != 0;
  if (std::ranges::count(by.groups, status.st_gid) > 0) return (status.st_mode & (bit << 3)) != 0;
  return (status.st_mode & bit) != 0;
}

// Goes down to the very inode of `wanted`, through directories that are held while they are looked at.
Result<void> check_reach(const SearchRoot& root, const Namer& by, const std::string& path, const struct stat& wanted) {
  UniqueFd at(::openat(root.fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat status{};
  for (size_t begin = 1; begin < path.size();) {
    if (!at || ::fstat(at.get(), &status) != 0) return fail_errno(errno, "open");
    if (!S_ISDIR(status.st_mode)) return fail(Code::NotFound, "it was moved meanwhile");
    if (!may(by, status, S_IXOTH)) {
      return fail(Code::Permission, "below a directory that is closed to the user who names it");
    }
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    at = UniqueFd(::openat(at.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    begin = end + 1;
  }
  if (!at || ::fstat(at.get(), &status) != 0) return fail_errno(errno, "open");
  const bool is_it = status.st_dev == wanted.st_dev && status.st_ino == wanted.st_ino;
  return is_it ? Result<void>{} : fail(Code::NotFound, "it was moved meanwhile");
}

}  // namespace

// Reopens, because the descriptor may be O_PATH and because readdir moves a shared offset.
Dir list_dir(int fd) {
  const int own = ::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (own < 0) return nullptr;
  Dir dir(::fdopendir(own));
  if (!dir) ::close(own);
  return dir;
}

bool looks_like_certificate(std::string_view name) {
  if (name.ends_with(".pem") || name.ends_with(".crt")) return true;
  // <subject hash>.<n>
  return name.size() >= 10 && name[8] == '.' && std::isdigit(static_cast<unsigned char>(name[9])) != 0 &&
         std::all_of(name.begin(), name.begin() + 8, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

Result<void> check_bundle(int fd) {
  TRY(file, reopen_file(fd));
  TRY(bytes, read_all(file.get(), kMaxBundleBytes));
  if (certificate_bodies(bytes).empty()) return fail(Code::Unsupported, "no certificate in it");
  return {};
}

// Anybody's directory may be named: one with other things in it would be read-only for whom they belong to, and one
// that is not for all to read could not be given to its owner without CAP_CHOWN.
Result<void> check_named_directory(int fd) {
  constexpr mode_t kForAll = S_IROTH | S_IXOTH;
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat");
  if ((status.st_mode & kForAll) != kForAll) return fail(Code::Permission, "not readable by all");
  const Dir dir = list_dir(fd);
  if (!dir) return fail_errno(errno, "read");
  bool any = false;
  for (size_t entries = 0; const dirent* entry = ::readdir(dir.get());) {
    if (++entries > kMaxNamedEntries) return fail(Code::TooLarge, "holds too many files");
    const std::string_view name = entry->d_name;
    // "..data": how Kubernetes swaps the files of a volume.
    if (name.starts_with("..") || name == ".") continue;
    if (!looks_like_certificate(name)) return fail(Code::Unsupported, "holds other things than certificates");
    any = true;
    if (::fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || S_ISLNK(status.st_mode)) continue;
    if (!S_ISREG(status.st_mode)) return fail(Code::Unsupported, "holds other things than certificates");
    if ((status.st_mode & S_IROTH) == 0) return fail(Code::Permission, std::string(name) + " is not readable by all");
  }
  if (!any) return fail(Code::Unsupported, "no certificate in it");
  return {};
}

// While it is covered, it can be neither written nor replaced: nobody does that to what belongs to another user.
Result<void> check_namer(const SearchRoot& root, const Namer& by, int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat");
  if (!root.is_root(by.uid)) {
    const bool is_own = status.st_uid == by.uid;
    if (!is_own && !root.is_root(status.st_uid)) {
      return fail(Code::Permission, "belongs to another user than the process that names it");
    }
    if (!is_own && !may(by, status, S_IROTH)) {
      return fail(Code::Permission, "not readable by the user who names it");
    }
    TRY(path, path_below(root.fd, fd));
    TRY_VOID(check_reach(root, by, path, status));
  }
  // /tmp with one certificate in it, say. Kubernetes mounts its volumes writable by all, and read-only.
  struct statvfs mount{};
  const bool is_read_only = ::fstatvfs(fd, &mount) == 0 && (mount.f_flag & ST_RDONLY) != 0;
  if ((status.st_mode & S_IWOTH) != 0 && !is_read_only) return fail(Code::Permission, "writable by all");
  return {};
}

Result<UniqueFd> follow_owned_link(const SearchRoot& root, int directory, const std::string& name) {
  struct stat link{};
  struct stat parent{};
  if (::fstatat(directory, name.c_str(), &link, AT_SYMLINK_NOFOLLOW) != 0 || ::fstat(directory, &parent) != 0) {
    return fail_errno(errno, "stat");
  }
  // A hard link to another's symlink leads elsewhere from here.
  if (!root.is_root(parent.st_uid) && parent.st_uid != link.st_uid) {
    return fail(Code::Permission, "a link of another user than the directory");
  }
  TRY(path, path_below(root.fd, directory));
  TRY(place, open_in_root(root.fd, path + "/" + name, O_PATH));
  struct stat status{};
  if (::fstat(place.get(), &status) != 0) return fail_errno(errno, "stat");
  if (!root.is_root(status.st_uid) && status.st_uid != link.st_uid) {
    return fail(Code::Permission, "leads to what belongs to another user than the link");
  }
  TRY_VOID(check_namer(root, Namer{link.st_uid, {}}, place.get()));
  return place;
}

}  // namespace tapdeck::trust
