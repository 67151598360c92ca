#include "daemon/kernel/run_directory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "daemon/base/inode.h"
#include "daemon/base/log.h"
#include "daemon/base/processes.h"
#include "daemon/kernel/bpf_programs.h"
#include "daemon/kernel/capture.h"
#include "daemon/kernel/other_filters.h"
#include "daemon/kernel/rtnetlink.h"
#include "daemon/kernel/tc_filter.h"

namespace tapdeck::kernel {
namespace {

namespace fs = std::filesystem;

bool is_bpffs(const std::string& path) {
  struct statfs info{};
  return ::statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

// A read-only mount refuses root too, but mkdir() of what is there already does not say so.
bool can_pin_in(const std::string& directory) {
  return is_bpffs(directory) && ::access(directory.c_str(), W_OK) == 0;
}

// Stable short name for a run directory, so that two instances do not share pins.
std::string short_hash(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
  std::ostringstream out;
  out << std::hex << hash;
  return out.str();
}

// A bpffs mounted in a private mount namespace goes with its last process, and what is pinned there with it. Where the
// first process's namespace cannot be seen, nothing is said.
bool goes_with_us(const std::string& bpffs) {
  struct stat own{};
  struct stat first{};
  if (::stat("/proc/self/ns/mnt", &own) != 0 || ::stat("/proc/1/ns/mnt", &first) != 0) return false;
  if (own.st_ino == first.st_ino) return false;
  const std::string seen_by_first = "/proc/1/root" + bpffs;
  return ::stat(bpffs.c_str(), &own) == 0 && (::stat(seen_by_first.c_str(), &first) != 0 || own.st_dev != first.st_dev);
}

void warn_if_private(const std::string& bpffs) {
  if (!goes_with_us(bpffs)) return;
  log::warn("capture.pins_private",
            "this mount namespace is private: if tapdeck is killed with all processes in it, fail-closed targets open; "
            "bind the host's /sys/fs/bpf into it, writable (a systemd unit: ReadWritePaths=/sys/fs/bpf and "
            "ProtectKernelTunables=no)",
            {{"bpffs", bpffs}});
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> out;
  std::error_code ignored;
  for (fs::directory_iterator i(directory, ignored), end; i != end; i.increment(ignored)) {
    out.push_back(i->path().filename());
  }
  return out;
}

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The kernel puts maps.debug and progs.debug into every new bpffs; they are not ours and go with the mount.
bool has_pins(const std::string& pins) {
  const auto names = names_in(pins);
  return std::ranges::any_of(names, [](const std::string& name) { return !name.ends_with(".debug"); });
}

void remove_pins(const std::string& pins) {
  if (!is_bpffs(pins)) {
    ::rmdir(pins.c_str());
    return;
  }
  for (const auto& name : names_in(pins)) release_pin(pins + "/" + name);
  // One of the two applies: a directory in a foreign bpffs, or the root of a bpffs we mounted.
  if (::rmdir(pins.c_str()) != 0 && errno == EBUSY && ::umount2(pins.c_str(), MNT_DETACH) == 0) ::rmdir(pins.c_str());
}

// A process in that network namespace, to enter it by; nullopt when there is none.
std::optional<std::string> way_into(uint64_t inode) {
  for (const auto& name : names_in("/proc")) {
    if (std::atoi(name.c_str()) <= 0) continue;
    const std::string path = "/proc/" + name + "/ns/net";
    if (inode_of(path) == inode) return path;
  }
  for (const auto& name : names_in("/run/netns")) {
    const std::string path = "/run/netns/" + name;
    if (inode_of(path) == inode) return path;
  }
  return std::nullopt;
}

bool is_bound_to_namespace(const std::string& record) {
  return record.starts_with(kFilterRecord) || record.starts_with(kOldFilterRecord) || record == kSteeringRecord;
}

Result<UniqueFd> take_lock(const std::string& directory) {
  const std::string path = directory + "/lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, "open " + path, Origin::Kernel);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::Busy, "another tapdeck captures with run directory " + directory, Origin::Kernel);
  }
  return fd;
}

}  // namespace

Result<RunDirectory> RunDirectory::open(const std::string& run_dir) {
  sweep(run_dir);
  auto first = open_at(run_dir, kDirectory);
  if (first || first.error().code != Code::Busy) return first;
  // A `run` beside the daemon, or beside other runs: records of its own, swept by whoever comes after its death.
  return open_at(run_dir, kDirectory + ("-" + std::to_string(::getpid())));
}

Result<RunDirectory> RunDirectory::open_at(const std::string& run_dir, const std::string& name) {
  RunDirectory out;
  out.directory_ = run_dir + "/" + name;
  std::error_code error;
  const bool fresh = !fs::exists(run_dir, error);
  fs::create_directories(out.directory_, error);
  if (error) return fail_errno(error.value(), "make " + out.directory_, Origin::Kernel);
  if (fresh) ::chmod(run_dir.c_str(), 0700);
  ::chmod(out.directory_.c_str(), 0700);
  TRY(lock, take_lock(out.directory_));
  out.lock_ = std::move(lock);
  TRY_VOID(out.check_namespace());
  TRY_VOID(out.take_over());
  TRY_VOID(out.write(kNamespaceRecord, std::to_string(inode_of("/proc/self/ns/net"))));
  return out;
}

void RunDirectory::sweep(const std::string& run_dir) {
  const std::string prefix = std::string(kDirectory) + "-";
  for (const auto& name : names_in(run_dir)) {
    if (!name.starts_with(prefix)) continue;
    const int pid = std::atoi(name.c_str() + prefix.size());
    if (pid <= 0 || is_alive(pid)) continue;  // alive, perhaps just about to take its lock
    if (auto dead = open_at(run_dir, name)) dead->close();
  }
}

Result<void> RunDirectory::check_namespace() const {
  const uint64_t theirs = std::strtoull(read_line(directory_ + "/" + kNamespaceRecord).c_str(), nullptr, 10);
  if (theirs == 0 || theirs == inode_of("/proc/self/ns/net")) return {};
  if (std::ranges::none_of(names_in(directory_), is_bound_to_namespace)) return {};
  const auto way = way_into(theirs);
  if (!way) return {};  // it is gone, and what was in it
  return fail(Code::Unsupported,
              directory_ + " is about another network namespace; there: nsenter --net=" + *way + " tapdeck clean",
              Origin::Kernel);
}

Result<void> RunDirectory::take_over() {
  Result<void> result;
  for (const auto& name : names_in(directory_)) {
    const std::string path = directory_ + "/" + name;
    const std::string text = read_line(path);
    if (name.starts_with(kFilterRecord)) {
      keep_as_old(name);
    } else if (name == kSteeringRecord) {
      Steering steering;
      std::istringstream in(text);
      const bool is_known = static_cast<bool>(in >> steering.mark >> steering.table);
      if (is_known && !others_need(steering, {})) result = remove_steering(steering);
      if (result) ::unlink(path.c_str());
    } else if (name == kPinsRecord && is_bpffs(text)) {
      pins_ = text;
      for (const auto& pin : names_in(pins_)) {
        if (!pin.ends_with(".debug")) old_pins_.push_back(pins_ + "/" + pin);
      }
    } else if (name == kPinsRecord) {
      ::unlink(path.c_str());  // died between record and mount, or the mount went with a namespace
      if (!text.empty()) ::rmdir(text.c_str());
    }
  }
  return result;
}

void RunDirectory::keep_as_old(const std::string& filter_record) const {
  std::string old = kOldFilterRecord + filter_record.substr(sizeof(kFilterRecord) - 1);
  std::error_code ignored;
  // One of this slot is still there when the predecessor died before it had released its own predecessor's.
  while (fs::exists(directory_ + "/" + old, ignored)) old += "+";
  ::rename((directory_ + "/" + filter_record).c_str(), (directory_ + "/" + old).c_str());
}

void RunDirectory::release_old_pins(uint64_t cgroup_id) {
  std::erase_if(old_pins_, [&](const std::string& path) {
    if (pinned_cgroup_id(path) != cgroup_id) return false;
    release_pin(path);
    return true;
  });
}

void RunDirectory::release_old_filters(int ifindex) {
  for (const auto& name : names_in(directory_)) {
    if (!name.starts_with(kOldFilterRecord)) continue;
    const auto filter = TcFilter::from_record(read_line(directory_ + "/" + name));
    if (filter && (ifindex != 0 && filter->ifindex != ifindex)) continue;
    if (!filter || detach_tc_filter(*filter)) remove(name);
  }
}

bool RunDirectory::old_filters_made_qdisc(int ifindex) const {
  return std::ranges::any_of(names_in(directory_), [&](const std::string& name) {
    if (!name.starts_with(kOldFilterRecord)) return false;
    const auto filter = TcFilter::from_record(read_line(directory_ + "/" + name));
    return filter && filter->ifindex == ifindex && filter->made_qdisc;
  });
}

Result<void> RunDirectory::release_old() {
  for (const auto& path : old_pins_) release_pin(path);
  old_pins_.clear();
  release_old_filters(0);
  const auto left = names_in(directory_);
  if (std::ranges::none_of(left, [](const auto& name) { return name.starts_with(kOldFilterRecord); })) return {};
  return fail(Code::Io, "a tc filter of an earlier run could not be removed; see " + directory_, Origin::Kernel);
}

Result<void> RunDirectory::write(const std::string& record, const std::string& text) const {
  const std::string path = directory_ + "/" + record;
  // Whole, or as it was: half a record is of something that nobody can name any more. What a killed one left
  // unfinished, the next one overwrites.
  const std::string next = directory_ + "/" + kUnfinishedRecord;
  std::ofstream file(next, std::ios::trunc);
  file << text;
  file.close();
  if (file && ::rename(next.c_str(), path.c_str()) == 0) return {};
  const int error = errno;
  ::unlink(next.c_str());
  return fail_errno(error, "write " + path, Origin::Kernel);
}

void RunDirectory::remove(const std::string& record) const {
  ::unlink((directory_ + "/" + record).c_str());
}

Result<std::string> RunDirectory::pin_directory() {
  // A predecessor's may be where only it could write; its pins are in old_pins_, and are released from there.
  if (!pins_.empty() && can_pin_in(pins_)) return pins_;
  const std::string shared = "/sys/fs/bpf/tapdeck-" + short_hash(fs::absolute(directory_).string());
  const bool host_has_bpffs = is_bpffs("/sys/fs/bpf");
  if (host_has_bpffs && (::mkdir(shared.c_str(), 0700) == 0 || errno == EEXIST) && can_pin_in(shared)) {
    TRY_VOID(write(kPinsRecord, shared));
    warn_if_private(shared);
    pins_ = shared;
    return pins_;
  }
  const std::string own = directory_ + "/bpf";
  if (::mkdir(own.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(errno, "make " + own, Origin::Kernel);
  TRY_VOID(write(kPinsRecord, own));
  if (!is_bpffs(own) && ::mount("bpf", own.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
    return fail_errno(errno, "mount bpffs on " + own + " (fail-closed targets need one; needs CAP_SYS_ADMIN)",
                      Origin::Kernel);
  }
  if (host_has_bpffs) {
    log::warn("capture.bpffs_read_only", "/sys/fs/bpf cannot be written here; fail-closed targets are pinned elsewhere",
              {{"bpffs", own}});
  }
  warn_if_private(own);
  pins_ = own;
  return pins_;
}

void RunDirectory::close() {
  ignore(release_old(), "the record stays for the next start");
  if (!pins_.empty() && !has_pins(pins_)) {
    remove_pins(pins_);
    remove(kPinsRecord);
  }
  const auto left = names_in(directory_);
  if (std::ranges::all_of(left, [](const auto& name) { return name == "lock" || name == kNamespaceRecord; })) {
    remove(kNamespaceRecord);
    remove("lock");
    ::rmdir(directory_.c_str());
  }
  lock_.reset();
}

Aftermath aftermath_of_the_dead(const std::string& run_dir) {
  const std::string directory = run_dir + "/" + kDirectory;
  const std::string pins = read_line(directory + "/" + kPinsRecord);
  // Removed by whoever ends in order; a mount that is not there any more took its pins along.
  if (!pins.empty() && !is_bpffs(pins)) return Aftermath::Lost;
  const bool has_closed = std::ranges::any_of(names_in(directory), [&](const std::string& name) {
    if (!name.starts_with(kFilterRecord) && !name.starts_with(kOldFilterRecord)) return false;
    const auto filter = TcFilter::from_record(read_line(directory + "/" + name));
    return !filter || filter->is_closed;
  });
  return has_closed || (!pins.empty() && has_pins(pins)) ? Aftermath::Stands : Aftermath::None;
}

Result<void> clean_leftovers(const std::string& run_dir) {
  std::error_code error;
  RunDirectory::sweep(run_dir);
  if (!fs::exists(run_dir + "/" + kDirectory, error)) return {};
  TRY(directory, RunDirectory::open_at(run_dir, kDirectory));
  auto released = directory.release_old();
  directory.close();
  return released;
}

}  // namespace tapdeck::kernel
