#include "daemon/trust/stores.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "daemon/trust/files.h"
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
  while (const dirent* entry = ::readdir(dir.get())) {
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

class Finder {
 public:
  Finder(int root_fd, const ScanOptions& options) : root_fd_(root_fd), options_(options) {}

  Scan run() {
    for (const std::string_view name : kHashedDirs) add_directory(name, StoreKind::HashedDir);
    for (const std::string_view name : kAnchorDirs) add_directory(name, StoreKind::AnchorDir);
    bool any_bundle = false;
    for (const std::string_view name : kBundles) any_bundle |= add_bundle(std::string(name));
    // An empty directory is a store only where nothing else is: Fedora's /etc/ssl/certs may well be empty.
    if (any_bundle) std::erase_if(scan_.stores, [](const TrustStore& s) { return s.kind == StoreKind::EmptyDir; });
    for (const NamedStore& named : options_.named) {
      if (auto added = add_named(named); !added) refuse(named, added.error());
    }
    for (const std::string& root : options_.python_roots.empty() ? default_python_roots() : options_.python_roots) {
      search(root);
    }
    return std::move(scan_);
  }

 private:
  void add(StoreKind kind, int fd, const std::string& found_as) {
    if (scan_.stores.size() >= options_.max_stores) {
      scan_.truncated = true;
      return;
    }
    Result<std::string> path = path_below(root_fd_, fd);
    if (!path || *path == "/" || !seen_.insert(*path).second) return;
    const auto first_bundle = std::ranges::find(scan_.stores, StoreKind::Bundle, &TrustStore::kind);
    const auto place = kind == StoreKind::Bundle ? scan_.stores.end() : first_bundle;
    scan_.stores.insert(place, TrustStore{kind, std::move(*path), found_as});
  }

  bool add_bundle(const std::string& name) {
    const Result<UniqueFd> fd = open_in_root(root_fd_, name, O_PATH);
    if (!fd || !is_regular(fd->get())) return false;
    add(StoreKind::Bundle, fd->get(), name);
    return true;
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
      add(StoreKind::HashedDir, found.get(), named.path);
      return {};
    }
    if (!S_ISREG(status.st_mode)) return fail(Code::Unsupported, "neither a file nor a directory");
    TRY(file, open_in_root(root_fd_, path, O_RDONLY | O_NONBLOCK));
    TRY(bytes, read_all(file.get(), kMaxBundleBytes));
    if (certificate_bodies(bytes).empty()) return fail(Code::Unsupported, "no certificate in it");
    add(StoreKind::Bundle, found.get(), named.path);
    return {};
  }

  void add_directory(std::string_view name, StoreKind kind) {
    const Result<UniqueFd> fd = open_in_root(root_fd_, std::string(name), O_PATH | O_DIRECTORY);
    if (!fd) return;
    if (kind == StoreKind::HashedDir && !holds_certificates(fd->get())) kind = StoreKind::EmptyDir;
    add(kind, fd->get(), std::string(name));
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
      if (++entries_ > options_.max_entries) break;
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
    if (depth > options_.max_depth) {
      scan_.truncated = true;
      return;
    }
    const Dir dir = list_dir(fd);
    if (!dir) return;
    const bool packages = name == "site-packages" || name == "dist-packages";
    const bool inside = inside_package_ > 0 || packages;
    while (const dirent* entry = ::readdir(dir.get())) {
      if (++entries_ > options_.max_entries) {
        scan_.truncated = true;
        return;
      }
      const std::string_view child = entry->d_name;
      if (child == "." || child == "..") continue;
      if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) {
        const bool known = (child == "cacert.pem" && (contains(kPackages, name) || name == "ssl")) ||
                           (child == "cacerts.txt" && name == "httplib2");
        if (known) add_bundle(path + "/" + entry->d_name);
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
  const ScanOptions& options_;
  Scan scan_;
  std::set<std::string> seen_;
  size_t entries_ = 0;
  int inside_package_ = 0;
};

}  // namespace

Result<UniqueFd> open_in_root(int root_fd, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<unsigned>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (int tries = 0;; ++tries) {
    const long fd = ::syscall(SYS_openat2, root_fd, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: a rename or mount raced with a ".." in the path (openat2(2)).
    if ((errno != EAGAIN && errno != EINTR) || tries >= 16) return fail_errno(errno, "open " + path);
  }
}

Result<std::string> path_below(int root_fd, int fd) {
  const auto link_of = [](int which) -> Result<std::string> {
    char text[4096];
    const std::string link = "/proc/self/fd/" + std::to_string(which);
    const ssize_t n = ::readlink(link.c_str(), text, sizeof text);
    if (n < 0) return fail_errno(errno, "readlink " + link);
    if (static_cast<size_t>(n) == sizeof text) return fail(Code::TooLarge, "path of " + link);
    return std::string(text, static_cast<size_t>(n));
  };
  TRY(root, link_of(root_fd));
  TRY(path, link_of(fd));
  if (root == "/") root.clear();
  if (!path.starts_with(root) || (path.size() > root.size() && path[root.size()] != '/')) {
    return fail(Code::NotFound, path + " is not below " + root);
  }
  path.erase(0, root.size());
  if (path.empty()) path = "/";
  if (path.ends_with(" (deleted)")) return fail(Code::NotFound, path);
  // They go line by line into reports; no real store is named like that.
  const bool plain = std::none_of(path.begin(), path.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (!plain) return fail(Code::InvalidArgument, "control character in a path");
  return path;
}

Result<Scan> find_stores(int root_fd, const ScanOptions& options) {
  struct stat status{};
  if (::fstat(root_fd, &status) != 0) return fail_errno(errno, "root directory");
  if (!S_ISDIR(status.st_mode)) return fail(Code::InvalidArgument, "the root is not a directory");
  return Finder(root_fd, options).run();
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
