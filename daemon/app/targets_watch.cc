// TargetRegistry, what happens by itself: targets attached again when they come back, looks, the watching thread.
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "daemon/app/made_cgroups.h"
#include "daemon/app/targets_entry.h"
#include "daemon/base/log.h"
#include "daemon/base/processes.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Attached targets are looked at this often even without an event (an interface has none).
constexpr milliseconds kRoutineLook{1000};
// New mount namespaces of a target that a look covers: a slice may make them by the dozen, and others wait meanwhile.
constexpr size_t kBindingsALook = 4;

int64_t unix_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// How long ago the process began.
milliseconds age_of(pid_t pid) {
  const uint64_t start = start_time(pid);
  timespec now{};
  if (start == 0 || ::clock_gettime(CLOCK_BOOTTIME, &now) != 0) return milliseconds(0);
  const int64_t now_ms = static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
  const int64_t start_ms = static_cast<int64_t>(start) * 1000 / ::sysconf(_SC_CLK_TCK);
  return milliseconds(std::max<int64_t>(0, now_ms - start_ms));
}

// Of a directory; 0: it is not there.
uint64_t inode_of(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) ? status.st_ino : 0;
}

// How long ago a cgroup was made, which sets its times.
milliseconds age_of_directory(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return milliseconds(0);
  const int64_t made_ms = static_cast<int64_t>(status.st_ctim.tv_sec) * 1000 + status.st_ctim.tv_nsec / 1'000'000;
  return milliseconds(std::max<int64_t>(0, unix_ms() - made_ms));
}

bool may_be_in(const MadeCgroups& made, const TargetSpec& spec) {
  if (made.lost) return true;
  if (spec.kind == TargetKind::Container) return made.container;
  if (spec.kind != TargetKind::Unit) return made.any;
  return std::ranges::any_of(made.names, [&](const std::string& name) {
    return name == spec.name || name == spec.name + ".service" || name.ends_with(".slice");
  });
}

}  // namespace

bool TargetRegistry::Entry::is_there() const {
  if (settings.spec.kind == TargetKind::Interface) {
    char name[IF_NAMESIZE];  // whatever it is called now: it stays captured
    return ::if_indextoname(interface_index, name) != nullptr;
  }
  return inode_of(resolved.cgroup_path) == cgroup_inode && !has_ended();
}

bool TargetRegistry::Entry::has_ended() const {
  pollfd ended{pid_fd.get(), POLLIN, 0};
  return follows_pid() && pid_fd && ::poll(&ended, 1, 0) != 0;
}

void TargetRegistry::start() {
  std::vector<uint32_t> ids;
  {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      ids.push_back(id);
      // From before the first question on: what is made after it is not missed.
      if (entry->settings.spec.kind == TargetKind::Container) watch_container_places();
    }
  }
  for (const uint32_t id : ids) look_at(id);
  ask_about_units();
  ask_about_containers();
  if (watcher_.joinable()) return;
  watcher_ = std::thread([this] { watch(); });
  unit_asker_ = std::thread([this] { ask(TargetKind::Unit); });
  container_asker_ = std::thread([this] { ask(TargetKind::Container); });
}

void TargetRegistry::stop() {
  {
    const std::lock_guard lock(small_mutex_);
    stopping_ = true;
  }
  ::eventfd_write(wake_.get(), 1);
  ::eventfd_write(stop_.get(), 1);
  {
    const std::lock_guard lock(work_mutex_);  // who is about to wait has seen stopping_, or waits already
  }
  asks_.notify_all();
  for (std::thread* thread : {&watcher_, &unit_asker_, &container_asker_}) {
    if (thread->joinable()) thread->join();
  }
}

Result<void> TargetRegistry::attach_entry(Entry& entry, const ResolvedTarget& resolved, TargetBackend::Why why) {
  const bool was_attached = entry.state == TargetStatus::State::Attached;
  const uint64_t inode = inode_of(resolved.cgroup_path);
  const bool moved =
      !entry.ever_attached || resolved.cgroup_path != entry.resolved.cgroup_path || inode != entry.cgroup_inode;
  entry.resolved = resolved;
  // A recorded client that meets our certificate untrusting breaks; one that is captured a moment later is a counted
  // gap. Where nothing may pass uncaptured it is the other way round.
  const bool capture_first = entry.settings.sealed || entry.settings.mode == Mode::Replay;
  if (!capture_first) bind_trust(entry);
  if (auto attached = backend_.attach(entry.id, entry.settings, resolved, why); !attached) {
    if (was_attached && !moved) return attached;  // what is refused changes nothing
    lose(entry, attached.error());
    return attached;
  }
  if (capture_first) bind_trust(entry);
  const bool again = entry.state != TargetStatus::State::Attached && entry.ever_attached;
  if (again && moved) count_gap(entry);
  entry.pid_fd = UniqueFd(entry.follows_pid() ? static_cast<int>(::syscall(SYS_pidfd_open, resolved.pid, 0)) : -1);
  entry.interface_index = resolved.interface.empty() ? 0 : ::if_nametoindex(resolved.interface.c_str());
  entry.cgroup_inode = inode;
  entry.ever_attached = true;
  entry.state = TargetStatus::State::Attached;
  entry.detail = backend_.lacking(entry.id);
  entry.passes = false;
  entry.unknown = false;
  entry.said.clear();
  entry.trouble = entry.is_interface() ? backend_.trouble(entry.id) : std::string();
  entry.attached_at_ms = unix_ms();
  entry.routine = options_.first_look;
  entry.next_look = Clock::now() + entry.routine;
  watch_parent(entry);
  tell_uncaptured();
  return {};
}

void TargetRegistry::count_gap(Entry& entry) {
  const milliseconds gap =
      entry.follows_pid() ? age_of(entry.resolved.pid) : age_of_directory(entry.resolved.cgroup_path);
  ++entry.gaps;
  entry.gap_total += gap;
  log::warn("target.gap", "a target ran before it was attached again: what it did meanwhile was not captured",
            {{"target", entry.settings.shown()}, {"milliseconds", gap.count()}, {"sealed", entry.settings.sealed}});
}

void TargetRegistry::bind_trust(Entry& entry) {
  if (!options_.bind_trust || entry.settings.spec.kind == TargetKind::Interface) return;
  if (!entry.trust) entry.trust.emplace();
  entry.trust->cover(entry.resolved.cgroup_path, shared_bindings_, options_.bind_trust);
}

void TargetRegistry::lose(Entry& entry, const Error& why) {
  entry.state = TargetStatus::State::Waiting;
  entry.detail = why.message();
  entry.passes = false;
  entry.unknown = why.code == Code::Timeout && entry.settings.spec.kind == TargetKind::Container;
  entry.attached_at_ms = 0;
  entry.trouble.clear();
  entry.pid_fd.reset();
  if (entry.trust) entry.trust->clear();  // who starts again and again has no more of everybody's time for it
  entry.pause = options_.first_look;
  entry.next_look = Clock::now() + entry.pause;
}

void TargetRegistry::end(Entry& entry) {
  lose(entry, Error{.detail = "the process has ended"});
  entry.state = TargetStatus::State::Failed;
  tell_uncaptured();
}

// First half of a look: is it there? True when its name has to be resolved.
bool TargetRegistry::needs_resolving(Entry& entry) {
  if (entry.state == TargetStatus::State::Failed) return false;
  if (entry.state == TargetStatus::State::Waiting) return true;
  entry.next_look = Clock::now() + entry.routine;
  if (entry.is_there()) {
    look_at_trouble(entry);
    if (entry.trust) {
      entry.trust->cover(entry.resolved.cgroup_path, shared_bindings_, options_.bind_trust, kBindingsALook);
    }
    if (!entry.detail.empty() && backend_.update(entry.id, entry.settings)) entry.detail.clear();
    return false;
  }
  if (entry.settings.spec.kind == TargetKind::Pid && entry.has_ended()) {
    end(entry);
    return false;
  }
  lose(entry, Error{Code::NotFound, entry.resolved.display + " is gone", Origin::Kernel, Retry::Yes, 0});
  return true;
}

void TargetRegistry::look_at_trouble(Entry& entry) {
  if (!entry.is_interface()) return;
  std::string trouble = backend_.trouble(entry.id);
  if (trouble == entry.trouble) return;
  entry.trouble = std::move(trouble);
  tell_uncaptured();
}

// Second half: what its name stands for now.
void TargetRegistry::take_up(Entry& entry, const Result<ResolvedTarget>& resolved) {
  const bool is_pid = entry.settings.spec.kind == TargetKind::Pid;
  if (is_pid && (!resolved || start_time(resolved->pid) != entry.settings.pid_start)) {
    end(entry);
    return;
  }
  const auto pause = entry.pause;
  const Result<void> attached =
      resolved ? attach_entry(entry, *resolved, TargetBackend::Why::Kept) : std::unexpected(resolved.error());
  if (attached) return;
  entry.pause = pause;
  // A runtime still setting up its cgroup refuses for a moment as well: everything is tried again.
  try_later(entry, resolved.has_value(), attached.error());
}

// What could not be attached, or is not there.
void TargetRegistry::try_later(Entry& entry, bool is_there, const Error& why) {
  entry.passes = is_there;
  entry.unknown = !is_there && why.code == Code::Timeout && entry.settings.spec.kind == TargetKind::Container;
  wait_on(entry, why);
  if (is_there && entry.detail != entry.said) {
    entry.said = entry.detail;
    log::error("target.not_attached", "a target is there and is not captured: what it does passes; tried again",
               {{"target", entry.settings.shown()}, {"problem", entry.detail}, {"sealed", entry.settings.sealed}});
  }
  tell_uncaptured();
}

void TargetRegistry::wait_on(Entry& entry, const Error& why) {
  entry.state = TargetStatus::State::Waiting;
  entry.detail = why.message();
  const bool is_container = entry.settings.spec.kind == TargetKind::Container;
  const bool was_woken = std::exchange(entry.container_asked, false);
  const milliseconds longest = is_container ? options_.longest_container_look : options_.longest_look;
  // A container that no runtime knows does not come at once. One that is known is perhaps being started.
  const bool is_unknown = is_container && why.code != Code::Busy && !entry.passes;
  const milliseconds least = std::min(is_unknown ? options_.longest_look : options_.first_look, longest);
  if (was_woken) {
    // By another's cgroup, if it is still unknown: that is no reason to ask more often.
    entry.pause = is_unknown ? std::max(entry.pause, least) : least;
  } else {
    entry.pause = std::clamp(entry.pause * 2, least, longest);
  }
  // Another was made while the runtimes thought.
  entry.next_look = Clock::now() + (entry.container_made ? milliseconds(0) : entry.pause);
}

// What has to be asked for is left to the threads that ask.
void TargetRegistry::look_at(uint32_t id) {
  TargetSpec spec;
  bool is_attached = false;
  {
    const std::lock_guard lock(work_mutex_);
    const auto it = entries_.find(id);
    if (it == entries_.end()) return;
    const bool has_to = needs_resolving(*it->second);
    // Not at every one of the quick looks of the begin: it reads whole sessions.
    is_attached = it->second->state == TargetStatus::State::Attached && it->second->routine == kRoutineLook;
    it->second->routine = std::min(it->second->routine * 2, kRoutineLook);
    if (!has_to && !is_attached) return;
    if (has_to && it->second->is_asked_for()) {
      it->second->next_look = Clock::now();
      asks_.notify_all();
      return;
    }
    spec = it->second->settings.spec;
  }
  if (is_attached) {
    backend_.look_again(id);  // reads whole sessions
    return;
  }
  const Result<ResolvedTarget> resolved = resolve_target(spec, options_.resolve);
  const std::lock_guard lock(work_mutex_);
  const auto it = entries_.find(id);
  // Detached, replaced or attached by hand meanwhile.
  if (it == entries_.end() || it->second->settings.spec != spec) return;
  if (it->second->state == TargetStatus::State::Waiting) take_up(*it->second, resolved);
}

// A container or unit comes back as a directory beside the one it had.
void TargetRegistry::watch_parent(Entry& entry) {
  if (entry.resolved.cgroup_path.empty()) return;
  watch_for_cgroups(inotify_.get(), std::filesystem::path(entry.resolved.cgroup_path).parent_path().string());
}

void TargetRegistry::watch_container_places() {
  for (const std::string& place : container_places_) watch_for_cgroups(inotify_.get(), place);
}

void TargetRegistry::wait_for_event() {
  std::vector<pollfd> polled{{wake_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}};
  Clock::time_point until = Clock::now() + std::chrono::seconds(60);
  bool waits_for_container = false;
  {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      const bool is_asked = entry->is_asked_for() && entry->state == TargetStatus::State::Waiting;
      if (entry->state != TargetStatus::State::Failed && !is_asked) until = std::min(until, entry->next_look);
      waits_for_container |= is_asked && entry->settings.spec.kind == TargetKind::Container;
      if (entry->pid_fd) polled.push_back({entry->pid_fd.get(), POLLIN, 0});
    }
  }
  if (waits_for_container) watch_container_places();
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  ::poll(polled.data(), polled.size(), static_cast<int>(std::max<int64_t>(0, left)));
  eventfd_t count = 0;
  ::eventfd_read(wake_.get(), &count);
  const MadeCgroups made = read_made_cgroups(inotify_.get());
  const std::lock_guard lock(work_mutex_);
  for (const auto& [id, entry] : entries_) {
    if (entry->state == TargetStatus::State::Attached && !entry->is_there()) entry->next_look = Clock::now();
    if (entry->state != TargetStatus::State::Waiting) continue;
    const bool is_container = entry->settings.spec.kind == TargetKind::Container;
    if (!may_be_in(made, entry->settings.spec)) continue;
    entry->container_made = is_container;
    if (!is_container) entry->pause = milliseconds(0);
    entry->next_look = Clock::now();
    asks_.notify_all();
  }
}

void TargetRegistry::watch() {
  for (;;) {
    wait_for_event();
    std::vector<uint32_t> soon;
    {
      const std::lock_guard lock(small_mutex_);
      if (stopping_) return;
      soon.swap(soon_);
    }
    std::vector<uint32_t> due;
    {
      const std::lock_guard lock(work_mutex_);
      for (const auto& [id, entry] : entries_) {
        const bool asked = std::find(soon.begin(), soon.end(), id) != soon.end();
        const bool left_to_askers = entry->is_asked_for() && entry->state == TargetStatus::State::Waiting;
        if (asked || (!left_to_askers && entry->next_look <= Clock::now())) due.push_back(id);
      }
    }
    for (const uint32_t id : due) look_at(id);
  }
}

void TargetRegistry::look_soon(uint32_t slot) {
  {
    const std::lock_guard lock(small_mutex_);
    soon_.push_back(slot);
  }
  ::eventfd_write(wake_.get(), 1);
}

}  // namespace tapdeck::app
