#include "daemon/trust/stores.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <set>

#include "daemon/trust/files.h"
#include "daemon/trust/in_root.h"
#include "daemon/trust/merge.h"
#include "daemon/trust/store_checks.h"

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

bool is_link(int directory, const char* name) {
  struct stat status{};
  return ::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);
}

constexpr size_t kMaxRefusedLinks = 64;  // said: whoever makes links must not fill the report

class Finder {
 public:
  Finder(int root_fd, uid_t root_owner, const ScanOptions& options)

      : root_fd_(root_fd), root_{root_fd, root_owner}, options_(options), until_(Clock::now() + options.patience) {}

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

  // Directories of users are searched, and their links may lead to any file.
  void add_linked_bundle(int directory, const char* name, const std::string& found_as) {
    if (is_covered(found_as)) return;
    Result<UniqueFd> place = follow_owned_link(root_, directory, name);
    const Result<void> checked = !place ? std::unexpected(place.error()) : check_bundle(place->get());
    if (checked) {
      add(StoreKind::Bundle, std::move(*place), found_as);
    } else if (++refused_links_ <= kMaxRefusedLinks) {
      refuse(found_as, checked.error());
    }
  }

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
      if (!is_covered(named->path)) refuse(named->path + " (" + named->variable + ")", why);
    }
  }

  // Another user may have named it as well.
  bool is_covered(const std::string& name) const {
    const Result<UniqueFd> place = open_in_root(root_fd_, name, O_PATH);
    return place && seen_.contains(path_below(root_fd_, place->get()).value_or(""));
  }

  void refuse(const std::string& what, const Error& why) {
    const std::string reason = why.sys_errno == 0 ? why.detail : std::strerror(why.sys_errno);
    std::string line = what + ": " + reason;
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
      TRY_VOID(check_namer(root_, named.by, found.get()));
      add(StoreKind::HashedDir, std::move(found), named.path);
      return {};
    }
    if (!S_ISREG(status.st_mode)) return fail(Code::Unsupported, "neither a file nor a directory");
    TRY_VOID(check_namer(root_, named.by, found.get()));
    TRY_VOID(check_bundle(found.get()));
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
      if (entry->d_type != DT_DIR) {
        const bool known = (child == "cacert.pem" && (contains(kPackages, name) || name == "ssl")) ||
                           (child == "cacerts.txt" && name == "httplib2");
        if (known && is_link(fd, entry->d_name)) add_linked_bundle(fd, entry->d_name, path + "/" + entry->d_name);
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
  SearchRoot root_;
  const ScanOptions& options_;
  Clock::time_point until_;
  Scan scan_;
  std::set<std::string> seen_;
  size_t entries_ = 0;
  int inside_package_ = 0;
  size_t refused_links_ = 0;
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
