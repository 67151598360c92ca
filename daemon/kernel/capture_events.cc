// CaptureImpl, what happens by itself: cgroups that go and come back, events of the programs, the tick.
// Control thread.
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/kernel/capture_impl.h"
#include "daemon/kernel/netns_table.h"

namespace tapdeck::kernel {
namespace {

constexpr uint64_t kTakeOverTicks = 25;                     // 5 s: targets nobody attached again by then are free
constexpr uint64_t kSweepTicks = 300;                       // a minute
constexpr uint64_t kFlowMaxAgeNs = 300ULL * 1'000'000'000;  // nobody waits longer for accept

}  // namespace

void CaptureImpl::watch_events(uint32_t target) {
  const int fd = slots_[target].cgroup->events_fd();
  if (fd >= 0) ignore(control_->watch(fd, EPOLLPRI, target), "the tick looks at it too");
  if (watch_) watch_->add(target, slots_[target].cgroup->path());
  watch_escapes(target);
}

void CaptureImpl::unwatch_events(uint32_t target) {
  if (slots_[target].cgroup->events_fd() >= 0) control_->unwatch(slots_[target].cgroup->events_fd());
  if (watch_) watch_->remove(target);
  unwatch_escapes(target);
}

void CaptureImpl::on_watch() {
  const bool lost = watch_->work([this](uint32_t target, const std::string& directory) {
    const Slot& slot = slots_[target];
    return slot.cgroup && !slot.cgroup->gone() && cover_directory(target, directory);
  });
  if (lost) next_look_ = {};
}

void CaptureImpl::on_ready(uint64_t token) {
  if (token == kEventsToken) {
    consume_events();
  } else if (token == kInotifyToken) {
    std::array<char, 4096> drain{};
    while (::read(inotify_.get(), drain.data(), drain.size()) > 0) continue;
    for (uint32_t target = 0; target < kMaxTargets; ++target) look_for_cgroup(target);
  } else if (token == kWatchToken) {
    on_watch();
  } else if (token < kMaxTargets) {
    on_cgroup_event(static_cast<uint32_t>(token));
  }
}

void CaptureImpl::on_cgroup_event(uint32_t target) {
  Slot& slot = slots_[target];
  if (!slot.cgroup || slot.cgroup->gone()) return;
  if (!slot.cgroup->alive()) {
    lose_cgroup(target);
    return;
  }
  if (slot.cgroup->became_empty()) {
    netns_->leave(target, NetnsTable::Why::Emptied, std::chrono::steady_clock::now());
    sink_.on_no_process(target);
  } else {
    ignore(cover_processes(target), "counted as no_listener by the programs until it works");
  }
}

void CaptureImpl::on_bpf_event(const tapdeck_event& event) {
  if (event.target >= kMaxTargets) return;
  if (event.kind == TAPDECK_EVENT_REFUSED || event.kind == TAPDECK_EVENT_REFUSED_AS_RECORDED) {
    Refusal refusal;
    refusal.target = event.target;
    refusal.pid = event.pid;
    refusal.protocol = event.protocol;
    refusal.destination = from_mapped(event.address, event.port);
    std::memcpy(refusal.comm.data(), event.comm, refusal.comm.size());
    refusal.comm.back() = '\0';
    event.kind == TAPDECK_EVENT_REFUSED ? sink_.on_refused(refusal) : sink_.on_refused_as_recorded(refusal);
    return;
  }
  if (event.kind == TAPDECK_EVENT_LEFT_CGROUP) {
    on_departure(event);
    return;
  }
  if (event.kind == TAPDECK_EVENT_NO_SOURCE) {
    ignore(netns_->look_for_sources(event.netns_cookie), "asked again with the next connect");
    return;
  }
  const Slot& slot = slots_[event.target];
  if (event.kind != TAPDECK_EVENT_NO_LISTENER || !slot.cgroup || slot.cgroup->gone()) return;
  if (netns_->is_complete(event.netns_cookie)) return;
  // The one that asked, first: a walk over thousands takes too long. It may be another thread's namespace, and the
  // number may mean nothing here (pid namespaces): then all are looked at.
  const auto covered = cover_process(event.target, static_cast<int>(event.pid), event.netns_cookie);
  if (netns_->has(event.netns_cookie) || (!covered && covered.error().code == Code::Unreachable)) return;
  ignore(cover_processes(event.target), "counted as no_listener by the programs until it works");
}

// What was lost is told before what was told after it, and again: it may be lost meanwhile.
void CaptureImpl::consume_events() {
  tell_lost_sightings();
  events_->consume();
  tell_lost_sightings();
}

void CaptureImpl::tell_lost_sightings() {
  const uint64_t lost = std::atomic_ref<__u64>(maps_->control().sightings_lost).load(std::memory_order_relaxed);
  const uint64_t more = lost - std::exchange(sightings_lost_, lost);
  if (more > 0) sink_.on_names_lost(more);
}

void CaptureImpl::on_sighting(const tapdeck_sighting& sighting) {
  NameSighting seen;
  seen.target = sighting.target;
  seen.netns_cookie = sighting.netns_cookie;
  seen.client = from_mapped(sighting.client, sighting.client_port);
  seen.resolver = from_mapped(sighting.resolver, 53);
  seen.way = sighting.is_answer != 0 ? NameSighting::Way::Answer : NameSighting::Way::Question;
  seen.bytes = {reinterpret_cast<const char*>(sighting.bytes), sighting.length};
  seen.length = sighting.whole;
  sink_.on_name_seen(seen);
}

void CaptureImpl::lose_cgroup(uint32_t target) {
  Slot& slot = slots_[target];
  unwatch_events(target);
  slot.cgroup->mark_gone();
  netns_->leave(target, NetnsTable::Why::Gone, std::chrono::steady_clock::now());
  watch_for_return(target);
  sink_.on_no_process(target);
  sink_.on_cgroup_gone(target);
}

// Watches the nearest ancestor that exists: a container's cgroup may come back with its parents.
void CaptureImpl::watch_for_return(uint32_t target) {
  if (!inotify_) return;
  const std::string& path = slots_[target].cgroup->path();
  int watch = -1;
  for (size_t slash = path.rfind('/'); watch < 0 && slash != std::string::npos && slash > 0;) {
    watch = ::inotify_add_watch(inotify_.get(), path.substr(0, slash).c_str(), IN_CREATE | IN_ONLYDIR);
    slash = path.rfind('/', slash - 1);
  }
  if (watch == slots_[target].return_watch) return;
  unwatch_return(target);
  slots_[target].return_watch = watch;
}

// The parent may be a busy place, such as system.slice. Targets that wait in one place have one watch.
void CaptureImpl::unwatch_return(uint32_t target) {
  const int watch = std::exchange(slots_[target].return_watch, -1);
  const bool is_shared =
      std::ranges::any_of(slots_, [watch](const Slot& other) { return other.return_watch == watch; });
  if (watch >= 0 && !is_shared) ::inotify_rm_watch(inotify_.get(), watch);
}

void CaptureImpl::look_for_cgroup(uint32_t target) {
  Slot& slot = slots_[target];
  if (!slot.cgroup || !slot.cgroup->gone()) return;
  if (!slot.cgroup->reopen()) {
    watch_for_return(target);
    return;
  }
  // By another tapdeck meanwhile: ours would see nothing. Who is told when the target's owner attaches it again.
  if (is_taken(slot.cgroup->directory_fd(), own_programs())) {
    slot.cgroup->mark_gone();
    return;
  }
  auto covered = cover_processes(target);
  auto attached = slot.cgroup->attach(*run_, pinned_of(slot.policy), slot.filtered(slot.policy));
  if (!attached) {
    slot.cgroup->mark_gone();  // tried again with the next tick
    return;
  }
  unwatch_return(target);
  watch_events(target);
  covered = cover_processes(target);
  ignore(covered, "counted as no_listener by the programs until it works");
  say_others(target);
  sink_.on_cgroup_back(target);
}

void CaptureImpl::on_tick() {
  ++ticks_;
  look_at_steering();
  for (uint32_t target = 0; target < kMaxTargets; ++target) {
    look_for_cgroup(target);
    look_at_interface(target);
    const Slot& slot = slots_[target];
    if (slot.cgroup && !slot.cgroup->gone() && !slot.cgroup->alive()) lose_cgroup(target);
  }
  const auto now = std::chrono::steady_clock::now();
  last_tick_ = now;
  look_where_processes_are(now);
  netns_->tick(now);
  if (take_over_ticks_ < kTakeOverTicks && !holds_predecessor_.load() && ++take_over_ticks_ == kTakeOverTicks) {
    ignore(run_->release_old(), "the record stays for the next start");
  }
  if (ticks_ % kSweepTicks == 0) maps_->sweep_flows(monotonic_ns(), kFlowMaxAgeNs);
}

}  // namespace tapdeck::kernel
