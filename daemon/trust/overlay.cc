#include "daemon/trust/overlay.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "daemon/trust/files.h"
#include "daemon/trust/mounts.h"
#include "daemon/trust/named_stores.h"
#include "daemon/trust/store_copy.h"

// <sys/mount.h> and <linux/mount.h> of glibc 2.36 clash; only these two are needed from the former.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*) noexcept;
extern "C" int umount2(const char*, int) noexcept;

namespace tapdeck::trust {
namespace {

constexpr unsigned long kMsRec = 16384;
constexpr unsigned long kMsPrivate = 1UL << 18;
constexpr unsigned long kMsNosuidNodevNoexec = 2 | 4 | 8;
constexpr int kMntDetach = 2;
constexpr int kUmountNofollow = 8;

Result<std::string> mountinfo_of(const std::string& who) {
  return read_whole_file("/proc/" + who + "/mountinfo", kMaxMountinfo);
}

// Peer groups the host is part of: a mount below one of them would appear there as well.
std::set<uint64_t> host_groups() {
  std::set<uint64_t> groups;
  for (const char* who : {"self", "1"}) {
    for (const MountEntry& entry : parse_mountinfo(mountinfo_of(who).value_or(std::string()))) {
      if (entry.shared_group != 0) groups.insert(entry.shared_group);
    }
  }
  return groups;
}

struct Target {
  UniqueFd root;
  UniqueFd mount_namespace;
  std::vector<MountEntry> mounts;
};

Result<Target> open_target(int pid, uint64_t namespace_inode) {
  const std::string base = "/proc/" + std::to_string(pid);
  Target target;
  target.root = UniqueFd(::open((base + "/root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!target.root) return fail_errno(errno, "open " + base + "/root", Origin::Kernel);
  target.mount_namespace = UniqueFd(::open((base + "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC));
  if (!target.mount_namespace) return fail_errno(errno, "open " + base + "/ns/mnt", Origin::Kernel);
  struct stat status{};
  if (::fstat(target.mount_namespace.get(), &status) != 0) return fail_errno(errno, "stat " + base + "/ns/mnt");
  if (status.st_ino != namespace_inode) {
    return fail(Code::NotFound, "pid " + std::to_string(pid) + " is in another mount namespace now", Origin::Kernel);
  }
  TRY(text, mountinfo_of(std::to_string(pid)));
  target.mounts = parse_mountinfo(text);
  return target;
}

// A tmpfs at `scratch` that only this process sees.
Result<void> make_tmpfs(const std::string& scratch, const std::string& tag) {
  if (::unshare(CLONE_NEWNS) != 0) return fail_errno(errno, "unshare the mount namespace (CAP_SYS_ADMIN)");
  if (::mount(nullptr, "/", nullptr, kMsRec | kMsPrivate, nullptr) != 0) return fail_errno(errno, "make / private");
  const char* limits = "mode=0755,size=128m,nr_inodes=65536";
  if (::mount(tag.c_str(), scratch.c_str(), "tmpfs", kMsNosuidNodevNoexec, limits) != 0) {
    return fail_errno(errno, "mount a tmpfs on " + scratch);
  }
  return {};
}

// A detached, read-only mount of `path`.
Result<UniqueFd> clone_tree(const std::string& path) {
  UniqueFd tree(static_cast<int>(
      ::syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW)));
  if (!tree) return fail_errno(errno, "open_tree");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
    return fail_errno(errno, "mount_setattr (Linux 5.12)");
  }
  return tree;
}

// The mounts at or above which ours would show up on the host. Read after joining, and through a descriptor of /proc
// opened before: /proc/PID/mountinfo of a chrooted target leaves out the mount its root lies on.
Result<std::set<uint64_t>> mounts_shared_with(const std::set<uint64_t>& groups, int proc_self) {
  const UniqueFd fd(::openat(proc_self, "mountinfo", O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open mountinfo");
  TRY(text, read_all(fd.get(), kMaxMountinfo));
  std::set<uint64_t> ids;
  for (const MountEntry& entry : parse_mountinfo(text)) {
    if (groups.contains(entry.shared_group)) ids.insert(entry.id);
  }
  return ids;
}

Result<void> attach_tree(int tree, const TrustStore& store, const Target& target, const std::set<uint64_t>& shared) {
  TRY(point, open_in_root(target.root.get(), store.path, O_PATH | O_NOFOLLOW));
  struct statx status{};
  if (::statx(point.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0) return fail_errno(errno, "statx");
  if (shared.contains(status.stx_mnt_id)) return fail(Code::Unsupported, "a mount here would propagate to the host");
  if (::syscall(SYS_move_mount, tree, "", point.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return fail_errno(errno, "move_mount");
  }
  return {};
}

// The directory store `path` lies in, if it is among `directories`.
bool is_below_any(const std::string& path, const std::vector<std::string>& directories) {
  return std::any_of(directories.begin(), directories.end(),
                     [&](const std::string& directory) { return path.starts_with(directory + "/"); });
}

struct Prepared {
  TrustStore store;
  UniqueFd tree;
};

// Copies each store and clones it; what fails goes to report.skipped.
std::vector<Prepared> prepare(const Scan& scan, const OverlayJob& job, int root_fd, BindReport& report) {
  CopyJob copy{root_fd, &job.ca, job.host_roots, {}};
  for (const TrustStore& store : scan.stores) {
    if (store.kind == StoreKind::Bundle) copy.bundles.push_back(store.path);
  }
  std::vector<Prepared> prepared;
  for (size_t i = 0; i < scan.stores.size(); ++i) {
    const std::string path = job.scratch + "/" + std::to_string(i);
    const Result<void> copied = copy_store(scan.stores[i], copy, path);
    Result<UniqueFd> tree = copied ? clone_tree(path) : std::unexpected(copied.error());
    if (tree) {
      prepared.push_back(Prepared{scan.stores[i], std::move(*tree)});
    } else {
      report.skipped.push_back(scan.stores[i].path + ": " + tree.error().message());
    }
  }
  return prepared;
}

}  // namespace

std::string source_tag(std::string_view id) {
  return "tapdeck-trust:" + std::string(id);
}

Result<std::string> mount_overlays(const OverlayJob& job) {
  TRY(target, open_target(job.pid, job.namespace_inode));
  ScanOptions options = job.scan;
  if (job.environments == Environments::Read) {
    options.named = named_by_processes(job.namespace_inode, target.root.get());
  }
  TRY(scan, find_stores(target.root.get(), options));
  const std::set<uint64_t> groups = host_groups();
  const UniqueFd proc_self(::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_self) return fail_errno(errno, "open /proc/self");
  TRY_VOID(make_tmpfs(job.scratch, source_tag(job.id)));
  BindReport report;
  report.truncated = scan.truncated;
  report.skipped = scan.refused;
  std::vector<Prepared> prepared = prepare(scan, job, target.root.get(), report);
  if (::setns(target.mount_namespace.get(), CLONE_NEWNS) != 0) {
    return fail_errno(errno, "join the mount namespace of pid " + std::to_string(job.pid), Origin::Kernel);
  }
  TRY(shared, mounts_shared_with(groups, proc_self.get()));
  std::vector<std::string> directories;
  for (Prepared& one : prepared) {
    // Its merged copy came with the directory's.
    if (one.store.kind == StoreKind::Bundle && is_below_any(one.store.path, directories)) continue;
    const Result<void> attached = attach_tree(one.tree.get(), one.store, target, shared);
    if (!attached) {
      report.skipped.push_back(one.store.path + ": " + attached.error().message());
      continue;
    }
    if (one.store.kind != StoreKind::Bundle) directories.push_back(one.store.path);
    report.mounted.push_back(std::move(one.store));
  }
  return encode_report(report);
}

Result<std::string> unmount_overlays(int pid, uint64_t namespace_inode, const std::string& id) {
  TRY(target, open_target(pid, namespace_inode));
  if (::unshare(CLONE_FS) != 0) return fail_errno(errno, "unshare");
  if (::setns(target.mount_namespace.get(), CLONE_NEWNS) != 0) {
    return fail_errno(errno, "join the mount namespace of pid " + std::to_string(pid), Origin::Kernel);
  }
  // The mount points of /proc/PID/mountinfo are seen from that process's root.
  if (::fchdir(target.root.get()) != 0 || ::chroot(".") != 0) return fail_errno(errno, "chroot");
  const std::string tag = source_tag(id);
  std::string covered;
  size_t count = 0;
  for (size_t i = target.mounts.size(); i-- > 0;) {
    const MountEntry& entry = target.mounts[i];
    if (entry.source != tag) continue;
    const bool on_top = std::none_of(target.mounts.begin() + static_cast<std::ptrdiff_t>(i) + 1, target.mounts.end(),
                                     [&](const MountEntry& later) { return later.point == entry.point; });
    if (!on_top) {
      covered = entry.point;
      continue;
    }
    // ENOENT and EINVAL: the target moved or unmounted it itself.
    if (::umount2(entry.point.c_str(), kMntDetach | kUmountNofollow) != 0 && errno != EINVAL && errno != ENOENT) {
      return fail_errno(errno, "unmount " + entry.point, Origin::Kernel);
    }
    ++count;
  }
  if (!covered.empty()) return fail(Code::Busy, "another mount lies on " + covered, Origin::Kernel);
  return std::to_string(count);
}

std::string encode_report(const BindReport& report) {
  std::string text;
  for (const TrustStore& store : report.mounted) {
    text += "M" + std::to_string(static_cast<int>(store.kind)) + store.found_as + "\t" + store.path + "\n";
  }
  for (const std::string& line : report.skipped) text += "S" + line + "\n";
  if (report.truncated) text += "T\n";
  return text;
}

BindReport decode_report(std::string_view text) {
  BindReport report;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    const size_t tab = line.find('\t');
    if (line.starts_with('M') && line.size() > 2 && tab != std::string_view::npos) {
      report.mounted.push_back(TrustStore{static_cast<StoreKind>(line[1] - '0'), std::string(line.substr(tab + 1)),
                                          std::string(line.substr(2, tab - 2))});
    } else if (line.starts_with('S')) {
      report.skipped.emplace_back(line.substr(1));
    } else if (line == "T") {
      report.truncated = true;
    }
  }
  return report;
}

}  // namespace tapdeck::trust
