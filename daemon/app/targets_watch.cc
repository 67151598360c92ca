// TargetRegistry, what happens by itself: targets attached again when they come back, looks, the watching thread.
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "daemon/app/made_cgroups.h"
#include "daemon/app/targets_entry.h"
#include "daemon/base/inode.h"
#include "daemon/base/log.h"
#include "daemon/base/processes.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Attached targets are looked at this often even without an event (an interface has none).
constexpr milliseconds kRoutineLook{1000};
// Whoever asks has an answer by then.
constexpr std::chrono::seconds kMadeLately{60};
// A cgroup that was made again is looked at this often until it was tried to attach it.
constexpr milliseconds kMadeLook{5};
// New mount namespaces of a target that a look covers: a slice may make them by the dozen, and others wait meanwhile.
constexpr size_t kBindingsALook = 4;

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
      attach_where_it_was(*it->second);
      if (it->second->is_left_to_askers()) it->second->next_look = Clock::now();
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
  const bool is_routine = backend_waits_ || !options_.alive_file.empty();
  Clock::time_point until = Clock::now() + (is_routine ? kRoutineLook : milliseconds(60'000));
  {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      if (entry->settings.spec.kind == TargetKind::Container) watch_container_places();
      if (entry->is_left_to_askers()) {
        watch_parent(*entry);
        attach_where_it_was(*entry);  // made before its place was watched
      }
      if (entry->is_left_to_askers() && entry->made_inode != 0)
        until = std::min(until, Clock::now() + (entry->made_tried ? kRoutineLook : kMadeLook));
      if (entry->state != TargetStatus::State::Failed && !entry->is_left_to_askers())
        until = std::min(until, entry->next_look);
      if (entry->pid_fd) polled.push_back({entry->pid_fd.get(), POLLIN, 0});
    }
  }
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  ::poll(polled.data(), polled.size(), static_cast<int>(std::max<int64_t>(0, left)));
  eventfd_t count = 0;
  ::eventfd_read(wake_.get(), &count);
  notice(read_made_cgroups(inotify_.get()));
}

void TargetRegistry::notice(const MadeCgroups& made) {
  const std::lock_guard lock(work_mutex_);
  for (const auto& [id, entry] : entries_) attach_where_it_was(*entry);  // all of them before what takes longer
  const Clock::time_point now = Clock::now();
  std::erase_if(made_, [&](const auto& one) { return now - one.second > kMadeLately; });
  for (const std::string& name : made.names) {
    if (is_container_cgroup(name)) made_.insert_or_assign(std::string(container_id_in(name)), now);
  }
  for (const auto& [id, entry] : entries_) {
    const bool is_container = entry->settings.spec.kind == TargetKind::Container;
    const bool is_attached = entry->state == TargetStatus::State::Attached;
    if (is_attached && !entry->is_there()) entry->next_look = Clock::now();
    if (!may_be_in(made, entry->settings.spec)) continue;
    if (is_attached && is_container && entry->doubt != Entry::Doubt::ItsCgroup) {
      entry->doubt = Entry::Doubt::ItsName;
      ask_soon(*entry);
    }
    if (entry->state != TargetStatus::State::Waiting) continue;
    entry->container_made = is_container;
    if (!is_container) entry->pause = milliseconds(0);
    entry->next_look = Clock::now();
    asks_.notify_all();
  }
}

void TargetRegistry::touch_alive_file() {
  if (options_.alive_file.empty()) return;
  const UniqueFd file(::open(options_.alive_file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (file) ::futimens(file.get(), nullptr);
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
        if (asked || (!entry->is_left_to_askers() && entry->next_look <= Clock::now())) due.push_back(id);
      }
    }
    for (const uint32_t id : due) look_at(id);
    backend_waits_ = backend_.retry();
    touch_alive_file();
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
