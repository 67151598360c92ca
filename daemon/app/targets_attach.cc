// TargetRegistry, attaching: what it takes, what is told when it fails, and what ran uncaptured meanwhile.
#include <net/if.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "daemon/app/made_cgroups.h"
#include "daemon/app/resolve_parts.h"
#include "daemon/app/targets_entry.h"
#include "daemon/base/inode.h"
#include "daemon/base/log.h"
#include "daemon/base/processes.h"
#include "daemon/trust/bind.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// So long the process of a cgroup that was made again is waited for, that trust may be bound first.
constexpr milliseconds kProcessComes{2000};
// What restarts is there again by then.
constexpr milliseconds kComesBack{2000};
// A process that is still being set up leaves the file system view that trust was bound into: looked at so much sooner.
constexpr int kSooner = 5;

int64_t unix_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

milliseconds since(Clock::time_point then) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - then);
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

// How long ago a cgroup was made, which sets its times.
milliseconds age_of_directory(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return milliseconds(0);
  const int64_t made_ms = static_cast<int64_t>(status.st_ctim.tv_sec) * 1000 + status.st_ctim.tv_nsec / 1'000'000;
  return milliseconds(std::max<int64_t>(0, unix_ms() - made_ms));
}

std::string_view uncaptured_text(Code why) {
  switch (why) {
    case Code::AlreadyExists:
      return "a target is captured as another one, with what that is set to; tried again";
    case Code::Busy:
      return "a target is there and is not captured here: another tapdeck has it, and what a dead one had closed is "
             "refused until 'tapdeck clean'; tried again";
    default:
      return "a target is there and is not captured: what it does passes; tried again";
  }
}

}  // namespace

// Trust is bound before it. A recorded client that meets our certificate untrusting breaks; one that is captured a
// moment later is a counted gap. Where nothing may pass uncaptured it is the other way round.
bool TargetRegistry::is_captured_first(const Entry& entry) {
  return entry.settings.mode == Mode::Replay || backend_.is_closed(entry.settings);
}

Result<void> TargetRegistry::check_alone(const Entry& entry, const ResolvedTarget& resolved) const {
  if (resolved.cgroup_path.empty()) return {};
  for (const auto& [id, other] : entries_) {
    const bool has_it =
        other->state == TargetStatus::State::Attached && other->resolved.cgroup_path == resolved.cgroup_path;
    if (other.get() == &entry || !has_it) continue;
    return fail(Code::AlreadyExists, resolved.display + " is target " + std::to_string(id) + " already (" +
                                         other->settings.spec.to_string() + "); detach that first");
  }
  return {};
}

Result<void> TargetRegistry::attach_entry(Entry& entry, const ResolvedTarget& resolved, TargetBackend::Why why) {
  const bool was_attached = entry.state == TargetStatus::State::Attached;
  const uint64_t inode = inode_of(resolved.cgroup_path);
  const bool moved =
      !entry.ever_attached || resolved.cgroup_path != entry.resolved.cgroup_path || inode != entry.cgroup_inode;
  Result<void> attached = check_alone(entry, resolved);
  if (!attached && was_attached) return attached;
  const bool captured_first = is_captured_first(entry);
  if (attached) {
    entry.resolved = resolved;
    if (!captured_first) attached = bind_trust(entry);
  }
  if (attached) attached = backend_.attach(entry.id, entry.settings, resolved, why);
  if (!attached) {
    if (was_attached && !moved) return attached;  // what is refused changes nothing
    lose(entry, attached.error());
    return attached;
  }
  if (moved) count_gap_of(entry);  // which ends now
  if (captured_first) ignore(bind_trust(entry), "it is tried again, and said for people");
  follow_process(entry);
  entry.interface_index = resolved.interface.empty() ? 0 : ::if_nametoindex(resolved.interface.c_str());
  entry.cgroup_inode = inode;
  entry.ever_attached = true;
  entry.due_since.reset();
  entry.from_before = false;
  entry.made_inode = 0;
  entry.doubt = Entry::Doubt::None;
  entry.state = TargetStatus::State::Attached;
  entry.detail = backend_.lacking(entry.id);
  entry.passes = false;
  entry.unknown = false;
  entry.failed_as.reset();
  entry.said.clear();
  entry.trouble = entry.is_interface() ? backend_.trouble(entry.id) : std::string();
  entry.attached_at_ms = unix_ms();
  entry.routine = options_.first_look;
  entry.next_look = Clock::now() + entry.routine;
  watch_parent(entry);
  tell_uncaptured();
  return {};
}

void TargetRegistry::follow_process(Entry& entry) {
  entry.pid_fd =
      UniqueFd(entry.follows_pid() ? static_cast<int>(::syscall(SYS_pidfd_open, entry.resolved.pid, 0)) : -1);
}

// Errors are ours alone, of what keeps trust from being bound anywhere; what a target makes impossible is no error.
Result<void> TargetRegistry::bind_trust(Entry& entry) {
  if (!options_.bind_trust || entry.settings.spec.kind == TargetKind::Interface) return {};
  if (!entry.trust) entry.trust.emplace();
  entry.trust->cover(entry.resolved.cgroup_path, shared_bindings_, options_.bind_trust);
  return entry.trust->possible();
}

// What ran before it was attached. Of what a daemon before us had attached, nobody knows more than how long there was
// none, and that what it left refuses the closed ones.
void TargetRegistry::count_gap_of(Entry& entry) {
  if (!entry.due_since) return;
  const milliseconds due = since(*entry.due_since);
  const bool was_refused = entry.from_before && options_.predecessor_refuses && backend_.is_closed(entry.settings);
  if (entry.is_interface()) {
    if (entry.from_before && !was_refused) count_gap(entry, due);
    return;
  }
  const bool has_run = entry.ever_attached || entry.resolved.pid != 0;
  milliseconds ran = age_of_directory(entry.resolved.cgroup_path);
  if (entry.follows_pid()) ran = std::max(ran, age_of(entry.resolved.pid));
  if (entry.made_inode != 0) ran = std::max(ran, since(entry.made_at));
  if (!has_run || (was_refused && ran >= due)) return;
  count_gap(entry, std::min(ran, due));
}

// A container that its runtime knows as one that has ended. One that was attached before is seen to come and go.
void TargetRegistry::count_missed(Entry& entry, const std::string& container) {
  const auto made = made_.find(container);
  if (made == made_.end() || entry.state == TargetStatus::State::Attached) return;
  const Clock::time_point then = made->second;
  made_.erase(made);
  if (!entry.resolved.cgroup_path.contains(container)) count_gap(entry, since(then));
}

void TargetRegistry::count_gap(Entry& entry, milliseconds length) {
  ++entry.gaps;
  entry.gap_total += length;
  if (options_.on_gap) options_.on_gap(entry.settings, length);
  log::warn("target.gap", "a target ran before it was attached: what it did meanwhile was not captured",
            {{"target", entry.settings.shown()}, {"milliseconds", length.count()}, {"sealed", entry.settings.sealed}});
}

void TargetRegistry::lose(Entry& entry, const Error& why) {
  entry.state = TargetStatus::State::Waiting;
  entry.detail = why.message();
  entry.passes = false;
  entry.unknown = why.code == Code::Timeout && entry.settings.spec.kind == TargetKind::Container;
  entry.attached_at_ms = 0;
  entry.trouble.clear();
  entry.pid_fd.reset();
  entry.doubt = Entry::Doubt::None;
  if (!entry.due_since) entry.due_since = Clock::now();
  entry.pause = options_.first_look;
  entry.next_look = Clock::now() + entry.pause;
}

void TargetRegistry::end(Entry& entry) {
  lose(entry, Error{.detail = "the process has ended"});
  entry.state = TargetStatus::State::Failed;
  if (entry.trust) entry.trust->clear();
  tell_uncaptured();
}

// Second half of a look: what its name stands for now.
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
  try_later(entry, resolved ? IsThere::Yes : IsThere::No, attached.error());
}

// What could not be attached, or is not there.
void TargetRegistry::try_later(Entry& entry, IsThere there, const Error& why) {
  const bool is_there = there == IsThere::Yes;
  entry.passes = is_there;
  // Not as soon as it is lost: it takes a while, and one that comes back at once is to be captured first.
  const bool is_gone = is_there || since(entry.due_since.value_or(Clock::time_point{})) > kComesBack;
  if (entry.trust && is_gone) entry.trust->clear();
  entry.unknown = !is_there && why.code == Code::Timeout && entry.settings.spec.kind == TargetKind::Container;
  wait_on(entry, why);
  if (is_there && entry.detail != entry.said) {
    entry.said = entry.detail;
    log::error("target.not_attached", uncaptured_text(why.code),
               {{"target", entry.settings.shown()}, {"problem", entry.detail}, {"sealed", entry.settings.sealed}});
  }
  tell_uncaptured();
}

void TargetRegistry::wait_on(Entry& entry, const Error& why) {
  entry.state = TargetStatus::State::Waiting;
  entry.detail = why.message();
  entry.failed_as = why.code;
  if (!entry.due_since) entry.due_since = Clock::now();
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

// An open one is captured when it has a process that trust can be bound for.
bool TargetRegistry::may_be_captured(const Entry& entry) {
  if (!options_.bind_trust || is_captured_first(entry) || since(entry.made_at) > kProcessComes) return true;
  const pid_t pid = any_pid_in(entry.resolved.cgroup_path);
  if (pid == 0 || !entry.resolved.own_mounts) return pid != 0;
  const Result<bool> on_host = trust::shares_host_mounts(pid);
  return on_host && !*on_host;
}

// A container or unit whose cgroup is made again where it was needs nobody's answer to be captured: runtimes take a
// tenth of a second, and more, to give one. They are asked afterwards.
void TargetRegistry::attach_where_it_was(Entry& entry) {
  if (!entry.is_left_to_askers() || !entry.ever_attached) return;
  const uint64_t inode = inode_of(entry.resolved.cgroup_path);
  if (entry.made_inode != 0 && inode != entry.made_inode) {
    entry.made_inode = 0;
    count_gap(entry, since(entry.made_at));  // it was over before anybody could say what it was
  }
  if (inode == 0 || inode == entry.cgroup_inode) return;
  if (inode != entry.made_inode) {
    entry.made_inode = inode;
    entry.made_at = Clock::now();
    entry.made_tried = false;
  }
  if (entry.made_tried || !may_be_captured(entry)) return;
  entry.made_tried = true;
  ResolvedTarget known = entry.resolved;
  known.pid = 0;  // perhaps one of the runtime's, which ends
  const auto pause = entry.pause;
  if (const auto attached = attach_entry(entry, known, TargetBackend::Why::Kept); !attached) {
    entry.pause = pause;
    try_later(entry, IsThere::Yes, attached.error());
    return;
  }
  entry.doubt = Entry::Doubt::ItsCgroup;
  ask_soon(entry);
  entry.routine = options_.first_look / kSooner;
  entry.next_look = Clock::now() + entry.routine;
}

void TargetRegistry::ask_soon(Entry& entry) {
  entry.doubt_since = entry.next_ask = Clock::now();
  entry.doubt_asked = false;
  entry.pause = milliseconds(0);
  asks_.notify_all();
}

void TargetRegistry::take_answer(Entry& entry, const Result<ResolvedTarget>& found) {
  if (entry.state == TargetStatus::State::Waiting) {
    take_up(entry, found);
  } else {
    confirm(entry, found);
  }
}

// What its runtime says of one that is attached.
void TargetRegistry::confirm(Entry& entry, const Result<ResolvedTarget>& found) {
  const bool is_new_question = !std::exchange(entry.doubt_asked, false);
  if (found && found->cgroup_path == entry.resolved.cgroup_path) {
    entry.resolved = *found;
    follow_process(entry);
    ignore(bind_trust(entry), "it is captured already, and tried again");
    if (!is_new_question) entry.doubt = Entry::Doubt::None;
    return;
  }
  if (found) {
    log::warn("target.moved", "the name of a target stands for another now, which is captured in its place",
              {{"target", entry.settings.shown()}, {"was", entry.resolved.cgroup_path}, {"is", found->cgroup_path}});
    entry.due_since = entry.doubt_since;
    if (const auto moved = attach_entry(entry, *found, TargetBackend::Why::Kept); !moved)
      let_go(entry, IsThere::Yes, moved.error());
    return;
  }
  if (entry.doubt == Entry::Doubt::ItsCgroup && is_of_another(entry, found.error().code)) {
    let_go(entry, IsThere::No, found.error());
    return;
  }
  ask_later(entry);
}

// Of a cgroup whose path names no container. One that is being started is not running yet, but not for long.
bool TargetRegistry::is_of_another(const Entry& entry, Code answer) const {
  const bool is_certain = is_container_cgroup(std::filesystem::path(entry.resolved.cgroup_path).filename().string());
  const bool has_settled = entry.pause >= options_.longest_look;
  return !is_certain && (answer == Code::NotFound || (answer == Code::Busy && has_settled));
}

// What it captures is somebody else's.
void TargetRegistry::let_go(Entry& entry, IsThere there, const Error& why) {
  ignore(backend_.detach(entry.id), "the next attach takes the slot");
  if (entry.trust) entry.trust->clear();
  lose(entry, why);
  try_later(entry, there, why);
}

// It is being started, or nobody has its name yet. Who takes the name makes a cgroup, and that asks again.
void TargetRegistry::ask_later(Entry& entry) {
  if (entry.doubt == Entry::Doubt::ItsName && entry.pause >= options_.longest_look) entry.doubt = Entry::Doubt::None;
  entry.pause = std::clamp(entry.pause * 2, options_.first_look, options_.longest_container_look);
  entry.next_ask = Clock::now() + entry.pause;
}

}  // namespace tapdeck::app
