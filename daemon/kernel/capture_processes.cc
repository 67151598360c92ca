// CaptureImpl, the network namespaces of targets' processes: found at attach, when a cgroup is joined, when a program
// asks, and every few seconds. Control thread.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "daemon/kernel/capture_impl.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/sock_diag.h"

namespace tapdeck::kernel {
namespace {

constexpr auto kLookPeriod = std::chrono::seconds(3);
constexpr int kLookRest = 100;  // times as long as the look took

}  // namespace

Result<void> CaptureImpl::cover_processes(uint32_t target) {
  std::set<uint64_t> tried;  // inode numbers: thousands of processes, a few namespaces
  for (const int pid : cgroup_processes(slots_[target].cgroup->directory_fd())) {
    const uint64_t inode = netns_inode_of(pid);
    if (inode == 0 || !tried.insert(inode).second) continue;
    auto covered = cover_process(target, pid);
    // A namespace whose loopback is down cannot be captured; the target's policy decides, counted as no_listener.
    const bool harmless =
        covered || covered.error().code == Code::Unreachable || covered.error().code == Code::NotFound;
    if (!harmless) return covered;
  }
  return {};
}

// NotFound: the process ended meanwhile, or is in another namespace than the given one.
Result<void> CaptureImpl::cover_process(uint32_t target, int pid, uint64_t netns_cookie) {
  if (netns_cookie == 0 && netns_->note(target, netns_inode_of(pid))) return {};
  TRY(ns, open_netns_of(pid));
  return netns_->use(target, std::move(ns), netns_cookie);
}

bool CaptureImpl::cover_directory(uint32_t target, const std::string& directory) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return false;
  const auto processes = cgroup_own_processes(fd.get());
  std::set<uint64_t> tried;
  for (const int pid : processes) {
    const uint64_t inode = netns_inode_of(pid);
    if (inode == 0 || !tried.insert(inode).second) continue;
    ignore(cover_process(target, pid),
           "looked at again soon, and counted as no_listener by the programs until it works");
  }
  return !processes.empty();
}

// Lets go of namespaces without processes, and finds those that nothing else told of. One core of a hundred at most,
// however many processes there are.
void CaptureImpl::look_where_processes_are(std::chrono::steady_clock::time_point now) {
  if (now < next_look_) return;
  NetnsTable::Users users;
  for (uint32_t target = 0; target < kMaxTargets; ++target) {
    const Slot& slot = slots_[target];
    if (!slot.cgroup || slot.cgroup->gone()) continue;
    std::set<uint64_t> tried;
    for (const int pid : cgroup_processes(slot.cgroup->directory_fd())) {
      const uint64_t inode = netns_inode_of(pid);
      if (inode == 0 || !tried.insert(inode).second) continue;
      ignore(cover_process(target, pid), "counted as no_listener by the programs until it works");
      users[inode] |= 1ULL << target;
    }
  }
  netns_->seen(users, now);
  const auto end = std::chrono::steady_clock::now();
  next_look_ = std::max(end + kLookPeriod, end + (end - now) * kLookRest);
}

// A first process may connect before we hear of it, and an open target lets that pass. Where it will come from cannot
// be known; units and commands come from our own namespace, and listeners there cost a few descriptors.
void CaptureImpl::cover_home_if_empty(uint32_t target) {
  if (!cgroup_processes(slots_[target].cgroup->directory_fd()).empty()) return;
  UniqueFd home(::fcntl(home_fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (home) ignore(netns_->use(target, std::move(home)), "only a guess; what it misses is counted as no_listener");
}

// Connections the programs can no longer see. Those of a target we attached before went through us: they are on
// loopback.
uint64_t CaptureImpl::count_pre_existing(uint32_t target) const {
  const int directory = slots_[target].cgroup->directory_fd();
  const auto ids = cgroup_ids_below(directory);
  std::set<uint64_t> seen;  // inode numbers of namespaces
  uint64_t count = 0;
  for (const int pid : cgroup_processes(directory)) {
    const auto ns = open_netns_of(pid);
    struct stat info{};
    if (!ns || ::fstat(ns->get(), &info) != 0 || !seen.insert(info.st_ino).second) continue;
    ignore(NetnsScope::run(ns->get(), home_fd_.get(),
                           [&]() -> Result<void> {
                             TRY(here, count_outbound_connections(ids));
                             count += here;
                             return {};
                           }),
           "a count for people; a kernel without sock_diag has none");
  }
  return count;
}

}  // namespace tapdeck::kernel
