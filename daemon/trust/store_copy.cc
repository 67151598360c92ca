#include "daemon/trust/store_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "daemon/base/whole_file.h"
#include "daemon/trust/files.h"
#include "daemon/trust/in_root.h"

namespace tapdeck::trust {
namespace {

constexpr size_t kMaxEntries = 8192;         // Debian's directory has some 280
constexpr size_t kMaxDirBytes = 32UL << 20;  // bundles, a JKS keystore below /etc/ssl/certs/java, single files
constexpr int kMaxDepth = 4;

// Without CAP_CHOWN, or in a user namespace that has not that id, a copy is ours, and readable by whom its mode says.
bool may_stay_ours(int error) {
  return error == EPERM || error == EINVAL;
}

Result<void> write_copy(const std::string& path, std::string_view bytes, const struct stat& like) {
  const UniqueFd out(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out) return fail_errno(errno, "create " + path);
  TRY_VOID(write_all(out.get(), bytes));
  if (::fchown(out.get(), like.st_uid, like.st_gid) != 0 && !may_stay_ours(errno)) {
    return fail_errno(errno, "chown " + path);
  }
  if (::fchmod(out.get(), like.st_mode & 0777) != 0) return fail_errno(errno, "chmod " + path);
  return {};
}

Result<void> write_new(const std::string& path, std::string_view bytes) {
  struct stat like{};
  like.st_mode = 0644;
  like.st_uid = ::geteuid();
  like.st_gid = ::getegid();
  return write_copy(path, bytes, like);
}

// OpenSSL looks up <hash>.0, .1, ... until one is missing: ours takes the first free number.
Result<void> add_hash_link(const std::string& directory, const std::string& hash, const std::string& file) {
  for (int n = 0; n < 64; ++n) {
    const std::string link = directory + "/" + hash + "." + std::to_string(n);
    if (::symlink(file.c_str(), link.c_str()) == 0) return {};
    if (errno != EEXIST) return fail_errno(errno, "symlink " + link);
  }
  return fail(Code::Exhausted, "64 certificates with our subject hash in " + directory);
}

// The file of our certificate: its name, or nothing when it is there already. The directory may be one that an outer
// `run` has covered: of the same CA that is enough, of another both stay.
Result<std::string> add_certificate(const std::string& directory, const CaCertificate& ca) {
  for (int n = 0; n < 64; ++n) {
    const std::string name = "tapdeck-" + ca.subject_hash + (n == 0 ? "" : "-" + std::to_string(n)) + ".pem";
    const UniqueFd there(::open((directory + "/" + name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!there) {
      TRY_VOID(write_new(directory + "/" + name, ca.pem));
      return name;
    }
    TRY(bytes, read_all(there.get(), kMaxBundleBytes));
    if (bytes == ca.pem) return std::string();
  }
  return fail(Code::Exhausted, "64 certificates of ours in " + directory);
}

// `kind`: of a directory.
Result<void> add_to_directory(StoreKind kind, const std::string& directory, const CaCertificate& ca) {
  TRY(name, add_certificate(directory, ca));
  if (name.empty() || kind == StoreKind::AnchorDir) return {};
  return add_hash_link(directory, ca.subject_hash, name);
}

bool contains(const std::vector<std::string>& list, const std::string& path) {
  return std::ranges::find(list, path) != list.end();
}

class DirCopy {
 public:
  explicit DirCopy(const CopyJob& job) : job_(job) {}

  // `seen_as`: the path of the original below the root.
  Result<void> copy(int fd, const std::string& seen_as, const std::string& destination, int depth) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat " + seen_as);
    if (::mkdir(destination.c_str(), 0700) != 0) return fail_errno(errno, "mkdir " + destination);
    const int own = ::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0) return fail_errno(errno, "open " + seen_as);
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(own), ::closedir);
    if (!dir) return fail_errno(errno, "read " + seen_as);
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++entries_ > kMaxEntries) return fail(Code::TooLarge, "more than 8192 entries");
      TRY_VOID(copy_entry(fd, entry->d_name, seen_as, destination, depth));
    }
    if (::chown(destination.c_str(), status.st_uid, status.st_gid) != 0 && !may_stay_ours(errno)) {
      return fail_errno(errno, "chown " + destination);
    }
    if (::chmod(destination.c_str(), status.st_mode & 0777) != 0) return fail_errno(errno, "chmod " + destination);
    return {};
  }

 private:
  Result<void> copy_entry(int fd, const std::string& name, const std::string& seen_as, const std::string& destination,
                          int depth) {
    const std::string to = destination + "/" + name;
    const std::string from = seen_as + "/" + name;
    // Its mode and its content have to be those of one file: a name may be given to another in between.
    const UniqueFd place(::openat(fd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status{};
    if (!place || ::fstat(place.get(), &status) != 0) return {};  // went away meanwhile
    if (S_ISLNK(status.st_mode)) return copy_link(place.get(), to);
    if (S_ISDIR(status.st_mode)) {
      if (depth >= kMaxDepth) return fail(Code::TooLarge, "directories too deep");
      TRY_VOID(copy(place.get(), from, to, depth + 1));
      return contains(job_.directories, from) ? add_to_directory(StoreKind::HashedDir, to, *job_.ca) : Result<void>{};
    }
    if (!S_ISREG(status.st_mode)) return {};
    return copy_file(place.get(), status, from, to);
  }

  Result<void> copy_file(int place, const struct stat& status, const std::string& from, const std::string& to) {
    const Result<UniqueFd> file = reopen_file(place);
    if (!file) return fail_errno(file.error().sys_errno, "open " + from);
    TRY(bytes, read_all(file->get(), kMaxDirBytes - std::min(bytes_, kMaxDirBytes)));
    bytes_ += bytes.size();
    if (!contains(job_.bundles, from)) return write_copy(to, bytes, status);
    const std::string additions[] = {job_.ca->pem};
    TRY(merged, merge_bundles(bytes, additions));
    return write_copy(to, merged, status);
  }

  static Result<void> copy_link(int place, const std::string& to) {
    char target[4096];
    const ssize_t n = ::readlinkat(place, "", target, sizeof target - 1);
    if (n < 0) return {};
    target[n] = '\0';
    if (::symlink(target, to.c_str()) != 0) return fail_errno(errno, "symlink " + to);
    return {};
  }

  const CopyJob& job_;
  size_t entries_ = 0;
  size_t bytes_ = 0;
};

Result<void> copy_bundle(const FoundStore& store, const CopyJob& job, const std::string& destination) {
  TRY(fd, reopen_file(store.place.get()));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(errno, "stat");
  TRY(bytes, read_all(fd.get(), kMaxBundleBytes));
  // A well-known name may be a link to anything: what is no bundle must not get our certificate.
  if (!bytes.empty() && certificate_bodies(bytes).empty()) return fail(Code::Unsupported, "no certificate in it");
  const std::string additions[] = {job.ca->pem};
  TRY(merged, merge_bundles(bytes, additions));
  TRY_VOID(write_copy(destination, merged, status));
  struct stat copy{};
  if (::stat(destination.c_str(), &copy) != 0) return fail_errno(errno, "stat");
  const bool kept = copy.st_uid == status.st_uid && copy.st_gid == status.st_gid;
  if (!kept && (status.st_mode & S_IROTH) == 0) {
    return fail(Code::Permission, "not readable by all, and its owner cannot be kept (CAP_CHOWN)");
  }
  return {};
}

}  // namespace

Result<void> copy_store(const FoundStore& store, const CopyJob& job, const std::string& destination) {
  if (store.kind == StoreKind::Bundle) return copy_bundle(store, job, destination);
  TRY_VOID(DirCopy(job).copy(store.place.get(), store.path, destination, 0));
  TRY_VOID(add_to_directory(store.kind, destination, *job.ca));
  if (store.kind != StoreKind::EmptyDir) return {};
  const std::string additions[] = {job.ca->pem};
  TRY(bundle, merge_bundles(job.host_roots, additions));
  // Which of the two names a client looks for depends on its distribution, and an empty directory does not say.
  TRY_VOID(write_new(destination + "/ca-certificates.crt", bundle));
  return write_new(destination + "/ca-bundle.crt", bundle);
}

}  // namespace tapdeck::trust
