#include "daemon/trust/stores.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "daemon/trust/files.h"
#include "daemon/trust/in_root.h"
#include "daemon/trust/merge.h"

namespace tapdeck::trust {
namespace {

// What OpenSSL, GnuTLS, Go (crypto/x509 root_linux.go), curl and wget read on the distributions there are; the order is
// that of preference when one bundle has to stand for the host's roots.
constexpr std::array<std::string_view, 17> kBundles = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Gentoo, Alpine, distroless
    "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora, RHEL, Amazon Linux
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // what the former links to
    "/etc/ssl/ca-bundle.pem",                             // SUSE
    "/var/lib/ca-certificates/ca-bundle.pem",             // what the former links to
    "/etc/ssl/cert.pem",                                  // Alpine, OpenSSL's own default name
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/cacert.pem",  // OpenELEC
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",  // Arch
    "/usr/lib/ssl/cert.pem",
    "/usr/local/ssl/cert.pem",  // OpenSSL built from source
    "/usr/local/etc/openssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/opt/conda/ssl/cacert.pem",
    "/opt/conda/ssl/cert.pem",
    "/nix/var/nix/profiles/default/etc/ssl/certs/ca-bundle.crt"};

constexpr std::array<std::string_view, 5> kHashedDirs = {"/etc/ssl/certs", "/etc/pki/tls/certs", "/usr/lib/ssl/certs",
                                                         "/usr/local/ssl/certs", "/system/etc/security/cacerts"};
constexpr std::array<std::string_view, 2> kAnchorDirs = {"/etc/pki/ca-trust/source/anchors",
                                                         "/etc/ca-certificates/trust-source/anchors"};

// Inside site-packages only these can hold a bundle; descending into every package would cost seconds.
constexpr std::array<std::string_view, 9> kPackages = {"certifi",  "botocore", "pip",     "pipenv",  "httplib2",
                                                       "requests", "awscli",   "_vendor", "vendored"};
constexpr std::array<std::string_view, 8> kNeverDescend = {"node_modules", ".git", "__pycache__", "proc",
                                                           "sys",          "dev",  ".cache",      "containers"};

template <size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

bool is_regular(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Dir = std::unique_ptr<DIR, DirCloser>;

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

constexpr size_t kMaxNamedEntries = 8192;  // no more are copied

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
Result<void> check_namer(const Namer& by, int fd, const struct stat& status, uid_t root_owner) {
  const auto is_root = [&](uid_t uid) { return uid == 0 || uid == root_owner; };
  const bool is_own = status.st_uid == by.uid;
  if (!is_root(by.uid) && !is_own) {
    if (!is_root(status.st_uid))
      return fail(Code::Permission, "belongs to another user than the process that names it");
    const bool by_group = (status.st_mode & S_IRGRP) != 0 && std::ranges::count(by.groups, status.st_gid) > 0;
    if (!by_group && (status.st_mode & S_IROTH) == 0) {
      return fail(Code::Permission, "not readable by the process that names it");
    }
  }
  // /tmp with one certificate in it, say. Kubernetes mounts its volumes writable by all, and read-only.
  struct statvfs mount{};
  const bool is_read_only = ::fstatvfs(fd, &mount) == 0 && (mount.f_flag & ST_RDONLY) != 0;
  if ((status.st_mode & S_IWOTH) != 0 && !is_read_only) return fail(Code::Permission, "writable by all");
  return {};
}

class Finder {
 public:
  Finder(int root_fd, uid_t root_owner, const ScanOptions& options)
      : root_fd_(root_fd), root_owner_(root_owner), options_(options), until_(Clock::now() + options.patience) {}

  Scan run() {
    for (const std::string_view name : kHashedDirs) add_directory(name, StoreKind::HashedDir);
    for (const std::string_view name : kAnchorDirs) add_directory(name, StoreKind::AnchorDir);
    bool any_bundle = false;
    for (const std::string_view name : kBundles) any_bundle |= add_bundle(std::string(name));
    // An empty directory is a store only where nothing else is: Fedora's /etc/ssl/certs may well be empty.
    if (any_bundle) std::erase_if(scan_.stores, [](const TrustStore& s) { return s.kind == StoreKind::EmptyDir; });
    add_all_named();
    for (const std::string& root : options_.python_roots.empty() ? default_python_roots() : options_.python_roots) {
      search(root);
    }
    return std::move(scan_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool has_patience() {
    const bool has = Clock::now() < until_;
    scan_.truncated |= !has;
    return has;
  }

  bool may_read_more() {
    scan_.truncated |= ++entries_ > options_.max_entries;
    return has_patience() && !scan_.truncated;
  }

  void add(StoreKind kind, UniqueFd place, const std::string& found_as) {
    if (scan_.stores.size() >= options_.max_stores) {
      scan_.truncated = true;
      return;
    }
    Result<std::string> path = path_below(root_fd_, place.get());
    if (!path || *path == "/" || !seen_.insert(*path).second) return;
    const auto first_bundle = std::ranges::find(scan_.stores, StoreKind::Bundle, &TrustStore::kind);
    const auto before = kind == StoreKind::Bundle ? scan_.stores.end() : first_bundle;
    scan_.stores.insert(before, FoundStore{{kind, std::move(*path), found_as}, std::move(place)});
  }

  bool add_bundle(const std::string& name) {
    Result<UniqueFd> place = open_in_root(root_fd_, name, O_PATH);
    if (!place || !is_regular(place->get())) return false;
    add(StoreKind::Bundle, std::move(*place), name);
    return true;
  }

  // Not through a link: directories of users are searched, and theirs may lead to any file.
  void add_package_bundle(int directory, const char* name, const std::string& found_as) {
    UniqueFd place(::openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (place && is_regular(place.get())) add(StoreKind::Bundle, std::move(place), found_as);
  }

  void add_all_named() {
    std::vector<std::pair<const NamedStore*, Error>> failed;
    for (const NamedStore& named : options_.named) {
      if (!has_patience()) return;
      if (auto added = add_named(named); !added) failed.emplace_back(&named, std::move(added).error());
    }
    for (const auto& [named, why] : failed) {
      if (!is_covered(named->path)) refuse(*named, why);
    }
  }

  // Another user may have named it as well.
  bool is_covered(const std::string& name) const {
    const Result<UniqueFd> place = open_in_root(root_fd_, name, O_PATH);
    return place && seen_.contains(path_below(root_fd_, place->get()).value_or(""));
  }

  void refuse(const NamedStore& named, const Error& why) {
    const std::string reason = why.sys_errno == 0 ? why.detail : std::strerror(why.sys_errno);
    std::string line = named.path + " (" + named.variable + "): " + reason;
    // They go line by line into reports.
    std::ranges::replace_if(line, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
    scan_.refused.push_back(std::move(line));
  }

  Result<void> add_named(const NamedStore& named) {
    if (!named.path.starts_with('/')) return fail(Code::InvalidArgument, "not an absolute path");
    TRY(found, open_in_root(root_fd_, named.path, O_PATH));
    TRY(path, path_below(root_fd_, found.get()));
    if (seen_.contains(path)) return {};
    struct stat status{};
    if (::fstat(found.get(), &status) != 0) return fail_errno(errno, "stat");
    if (S_ISDIR(status.st_mode)) {
      TRY_VOID(check_named_directory(found.get()));
      TRY_VOID(check_namer(named.by, found.get(), status, root_owner_));
      add(StoreKind::HashedDir, std::move(found), named.path);
      return {};
    }
    if (!S_ISREG(status.st_mode)) return fail(Code::Unsupported, "neither a file nor a directory");
    TRY_VOID(check_namer(named.by, found.get(), status, root_owner_));
    TRY(file, reopen_file(found.get()));
    TRY(bytes, read_all(file.get(), kMaxBundleBytes));
    if (certificate_bodies(bytes).empty()) return fail(Code::Unsupported, "no certificate in it");
    add(StoreKind::Bundle, std::move(found), named.path);
    return {};
  }

  void add_directory(std::string_view name, StoreKind kind) {
    Result<UniqueFd> place = open_in_root(root_fd_, std::string(name), O_PATH | O_DIRECTORY);
    if (!place) return;
    if (kind == StoreKind::HashedDir && !holds_certificates(place->get())) kind = StoreKind::EmptyDir;
    add(kind, std::move(*place), std::string(name));
  }

  bool holds_certificates(int fd) {
    const Dir dir = list_dir(fd);
    if (!dir) return false;
    while (const dirent* entry = ::readdir(dir.get())) {
      if (looks_like_certificate(entry->d_name)) return true;
    }
    return false;
  }

  // The last component may be a pattern.
  void search(const std::string& root) {
    const size_t slash = root.rfind('/');
    if (slash == std::string::npos) return;
    const std::string pattern = root.substr(slash + 1);
    if (pattern.find('*') == std::string::npos) {
      descend_from(root);
      return;
    }
    const std::string parent = root.substr(0, slash == 0 ? 1 : slash);
    const Result<UniqueFd> fd = open_in_root(root_fd_, parent, O_PATH | O_DIRECTORY);
    if (!fd) return;
    const Dir dir = list_dir(fd->get());
    if (!dir) return;
    while (const dirent* entry = ::readdir(dir.get())) {
      if (!may_read_more()) return;
      if (entry->d_name[0] != '.' && ::fnmatch(pattern.c_str(), entry->d_name, 0) == 0) {
        descend_from(parent + "/" + entry->d_name);
      }
    }
  }

  void descend_from(const std::string& path) {
    const Result<UniqueFd> fd = open_in_root(root_fd_, path, O_PATH | O_DIRECTORY);
    if (!fd) return;
    walk(fd->get(), path.substr(path.rfind('/') + 1), path, 0);
  }

  void walk(int fd, std::string_view name, const std::string& path, size_t depth) {
    if (depth > options_.max_depth) return;
    const Dir dir = list_dir(fd);
    if (!dir) return;
    const bool packages = name == "site-packages" || name == "dist-packages";
    const bool inside = inside_package_ > 0 || packages;
    while (const dirent* entry = ::readdir(dir.get())) {
      if (!may_read_more()) return;
      const std::string_view child = entry->d_name;
      if (child == "." || child == "..") continue;
      if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) {
        const bool known = (child == "cacert.pem" && (contains(kPackages, name) || name == "ssl")) ||
                           (child == "cacerts.txt" && name == "httplib2");
        if (known) add_package_bundle(fd, entry->d_name, path + "/" + entry->d_name);
      }
      if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) continue;
      if (contains(kNeverDescend, child) || (inside && !contains(kPackages, child))) continue;
      const UniqueFd next(::openat(fd, entry->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!next) continue;
      inside_package_ += inside ? 1 : 0;
      walk(next.get(), child, path + "/" + entry->d_name, depth + 1);
      inside_package_ -= inside ? 1 : 0;
    }
  }

  int root_fd_;
  uid_t root_owner_;
  const ScanOptions& options_;
  Clock::time_point until_;
  Scan scan_;
  std::set<std::string> seen_;
  size_t entries_ = 0;
  int inside_package_ = 0;
};

}  // namespace

Result<Scan> find_stores(int root_fd, const ScanOptions& options) {
  struct stat status{};
  if (::fstat(root_fd, &status) != 0) return fail_errno(errno, "root directory");
  if (!S_ISDIR(status.st_mode)) return fail(Code::InvalidArgument, "the root is not a directory");
  return Finder(root_fd, status.st_uid, options).run();
}

std::vector<std::string> default_python_roots() {
  return {"/usr/lib/python*",
          "/usr/local/lib/python*",
          "/usr/lib64/python*",
          "/usr/local/aws-cli",
          "/usr/lib/google-cloud-sdk",
          "/opt",
          "/venv",
          "/app",
          "/code",
          "/srv",
          "/workspace",
          "/usr/src/app",
          "/var/task",
          "/root/.local/lib",
          "/root/venv",
          "/home"};
}

Result<std::string> read_host_roots() {
  for (const std::string_view name : kBundles) {
    Result<std::string> text = read_whole_file(name, kMaxBundleBytes);
    if (text && !certificate_bodies(*text).empty()) return text;
  }
  return fail(Code::NotFound, "this host has no CA bundle; install ca-certificates");
}

}  // namespace tapdeck::trust
