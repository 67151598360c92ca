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
#include "daemon/trust/in_root.h"
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
// How often a mount of ours that was not where mountinfo had said is looked for.
constexpr size_t kMaxMisses = 200;

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
  return target;
}

// For good, whoever has no privileges on the host: those that it has in the user namespace of `pid`, if that is of its
// own making, are all that mounts there take.
Result<void> join_user_namespace(int pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/user";
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + path, Origin::Kernel);
  if (::setns(fd.get(), CLONE_NEWUSER) != 0) {
    return fail_errno(errno, "make or join a namespace to mount in (CAP_SYS_ADMIN)", Origin::Kernel);
  }
  return {};
}

// A tmpfs at `scratch` that only this process sees.
Result<void> make_tmpfs(const std::string& scratch, const std::string& tag, int pid) {
  if (::unshare(CLONE_NEWNS) != 0) {
    if (errno != EPERM) return fail_errno(errno, "unshare the mount namespace");
    TRY_VOID(join_user_namespace(pid));
    if (::unshare(CLONE_NEWNS) != 0) return fail_errno(errno, "unshare the mount namespace (CAP_SYS_ADMIN)");
  }
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

Result<UniqueFd> open_proc_self() {
  UniqueFd fd(::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open /proc/self");
  return fd;
}

Result<void> join(const Target& target, int pid) {
  if (::setns(target.mount_namespace.get(), CLONE_NEWNS) == 0) return {};
  if (errno == EPERM && join_user_namespace(pid) && ::setns(target.mount_namespace.get(), CLONE_NEWNS) == 0) return {};
  return fail_errno(errno, "join the mount namespace of pid " + std::to_string(pid), Origin::Kernel);
}

// After joining, through a descriptor of /proc/self opened before: /proc/PID/mountinfo of a chrooted target leaves out
// what it does not see, and is another text once it has changed its root.
Result<std::vector<MountEntry>> mounts_here(int proc_self) {
  const UniqueFd fd(::openat(proc_self, "mountinfo", O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open mountinfo");
  TRY(text, read_all(fd.get(), kMaxMountinfo));
  return parse_mountinfo(text);
}

// The mounts at or above which ours would show up on the host.
Result<std::set<uint64_t>> mounts_shared_with(const std::set<uint64_t>& groups, int proc_self) {
  TRY(mounts, mounts_here(proc_self));
  std::set<uint64_t> ids;
  for (const MountEntry& entry : mounts) {
    if (groups.contains(entry.shared_group)) ids.insert(entry.id);
  }
  return ids;
}

Result<void> attach_tree(int tree, int place, const std::set<uint64_t>& shared) {
  TRY(id, mount_id_of(place));
  if (shared.contains(id)) return fail(Code::Unsupported, "a mount here would propagate to the host");
  if (::syscall(SYS_move_mount, tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
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
  FoundStore store;
  UniqueFd tree;
};

// Copies each store and clones it; what fails goes to report.skipped.
std::vector<Prepared> prepare(Scan& scan, const OverlayJob& job, BindReport& report) {
  CopyJob copy{&job.ca, job.host_roots, {}, {}};
  for (const FoundStore& store : scan.stores) {
    (store.kind == StoreKind::Bundle ? copy.bundles : copy.directories).push_back(store.path);
  }
  std::vector<Prepared> prepared;
  for (size_t i = 0; i < scan.stores.size(); ++i) {
    const std::string path = job.scratch + "/" + std::to_string(i);
    const Result<void> copied = copy_store(scan.stores[i], copy, path);
    Result<UniqueFd> tree = copied ? clone_tree(path) : std::unexpected(copied.error());
    if (tree) {
      prepared.push_back(Prepared{std::move(scan.stores[i]), std::move(*tree)});
    } else {
      report.skipped.push_back(scan.stores[i].path + ": " + tree.error().message());
    }
  }
  return prepared;
}

// Mounts what was prepared; what fails goes to report.skipped, and may be mounted later.
void attach_all(std::vector<Prepared>& prepared, const std::set<uint64_t>& shared, BindReport& report) {
  std::vector<std::string> directories;
  for (Prepared& one : prepared) {
    // Our certificate came into it with the directory's copy.
    if (is_below_any(one.store.path, directories)) continue;
    const Result<void> attached = attach_tree(one.tree.get(), one.store.place.get(), shared);
    if (!attached) {
      report.skipped.push_back(one.store.path + ": " + attached.error().message());
      report.is_partial = true;
      continue;
    }
    if (one.store.kind != StoreKind::Bundle) directories.push_back(one.store.path);
    report.mounted.push_back(std::move(static_cast<TrustStore&>(one.store)));
  }
}

// Leaves what an earlier call with the same id has covered.
void drop_covered(Scan& scan, int pid, const std::string& tag) {
  std::set<uint64_t> ours;
  for (const MountEntry& mount : parse_mountinfo(mountinfo_of(std::to_string(pid)).value_or(std::string()))) {
    if (mount.source == tag) ours.insert(mount.id);
  }
  std::erase_if(scan.stores, [&](const FoundStore& store) {
    const Result<uint64_t> id = mount_id_of(store.place.get());
    return id && ours.contains(*id);
  });
}

bool has_mounts_on(const std::vector<MountEntry>& mounts, uint64_t id) {
  return std::ranges::count(mounts, id, &MountEntry::parent) > 0;
}

// Whether `entry` was got hold of and unmounted. The current directory is /proc/self, opened before joining.
Result<bool> take_off(const MountEntry& entry, int root, int proc_self) {
  const Result<UniqueFd> point = open_in_root(root, entry.point, O_PATH | O_NOFOLLOW, Symlinks::Refused);
  if (!point) return false;  // its directory has another name by now
  TRY(id, mount_id_of(point->get()));
  if (id != entry.id) return false;
  // The number may have been another's before it was held; now it stays.
  TRY(mounts, mounts_here(proc_self));
  const bool is_ours =
      std::ranges::any_of(mounts, [&](const MountEntry& now) { return now.id == id && now.source == entry.source; });
  if (!is_ours || has_mounts_on(mounts, id)) return false;
  // Not by its path, which may be another's at once; UMOUNT_NOFOLLOW would refuse the link that a descriptor is here.
  if (::umount2(("fd/" + std::to_string(point->get())).c_str(), kMntDetach) == 0) return true;
  // EINVAL: the target has unmounted it itself.
  return errno == EINVAL ? Result<bool>(false) : fail_errno(errno, "unmount " + entry.point, Origin::Kernel);
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
  drop_covered(scan, job.pid, source_tag(job.id));
  if (job.after_scan) job.after_scan();
  const std::set<uint64_t> groups = host_groups();
  TRY(proc_self, open_proc_self());
  TRY_VOID(make_tmpfs(job.scratch, source_tag(job.id), job.pid));
  BindReport report;
  report.skipped = scan.refused;
  if (scan.truncated) {
    report.skipped.insert(report.skipped.begin(),
                          "the search was ended early: stores of Python packages may be missing");
  }
  std::vector<Prepared> prepared = prepare(scan, job, report);
  TRY_VOID(join(target, job.pid));
  TRY(shared, mounts_shared_with(groups, proc_self.get()));
  attach_all(prepared, shared, report);
  return encode_report(report);
}

Result<std::string> unmount_overlays(int pid, uint64_t namespace_inode, const std::string& id,
                                     const std::function<void()>& after_look) {
  TRY(target, open_target(pid, namespace_inode));
  TRY(proc_self, open_proc_self());
  TRY_VOID(join(target, pid));
  if (::fchdir(proc_self.get()) != 0) return fail_errno(errno, "chdir to /proc/self");
  const UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail_errno(errno, "open /");
  const std::string tag = source_tag(id);
  size_t count = 0;
  for (size_t misses = 0; misses < kMaxMisses;) {
    TRY(mounts, mounts_here(proc_self.get()));
    if (after_look) after_look();
    std::vector<MountEntry> free;
    std::string covered;
    for (const MountEntry& entry : mounts) {
      if (entry.source != tag) continue;
      if (has_mounts_on(mounts, entry.id)) {
        covered = entry.point;
      } else {
        free.push_back(entry);
      }
    }
    if (free.empty() && covered.empty()) return std::to_string(count);
    if (free.empty()) return fail(Code::Busy, "another mount lies on " + covered, Origin::Kernel);
    TRY(is_off, take_off(free[misses % free.size()], root.get(), proc_self.get()));
    ++(is_off ? count : misses);
  }
  return fail(Code::Busy, "what is mounted there is hidden, or renamed all the time", Origin::Kernel);
}

std::string encode_report(const BindReport& report) {
  std::string text;
  for (const TrustStore& store : report.mounted) {
    text += "M" + std::to_string(static_cast<int>(store.kind)) + store.found_as + "\t" + store.path + "\n";
  }
  for (const std::string& line : report.skipped) text += "S" + line + "\n";
  if (report.is_partial) text += "P\n";
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
    } else if (line == "P") {
      report.is_partial = true;
    }
  }
  return report;
}

}  // namespace tapdeck::trust
