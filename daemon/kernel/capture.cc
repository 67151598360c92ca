#include "daemon/kernel/capture.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <set>

#include "daemon/kernel/capture_impl.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/rtnetlink.h"
#include "daemon/kernel/sock_diag.h"

namespace tapdeck::kernel {
namespace {

static_assert(kMaxTargets == TAPDECK_MAX_TARGETS);
static_assert(kMaxWorkers == TAPDECK_MAX_WORKERS);
static_assert(kUncapturedReasons == TAPDECK_REASONS);
static_assert(static_cast<int>(Uncaptured::Fragment) == TAPDECK_FRAGMENT);
static_assert(static_cast<int>(Uncaptured::Lease) == TAPDECK_LEASE);

constexpr auto kTick = std::chrono::milliseconds(200);
constexpr uint64_t kTakeOverTicks = 25;                     // 5 s: targets nobody attached again by then are free
constexpr uint64_t kSweepTicks = 300;                       // a minute
constexpr uint64_t kFlowMaxAgeNs = 300ULL * 1'000'000'000;  // nobody waits longer for accept
constexpr uint64_t kEventsToken = 1ULL << 32;
constexpr uint64_t kInotifyToken = 2ULL << 32;

uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);  // the clock of bpf_ktime_get_ns
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

bool is_closed(TargetPolicy policy) {
  return policy.on_lease == OnLease::Closed || policy.sealed == Sealed::Yes;
}

Pinned pinned_of(TargetPolicy policy) {
  return is_closed(policy) ? Pinned::Yes : Pinned::No;
}

}  // namespace

std::string_view to_string(CapturePath path) {
  switch (path) {
    case CapturePath::Cgroup:
      return "cgroup";
    case CapturePath::Tc:
      return "tc";
    case CapturePath::Netns:
      return "netns";
    case CapturePath::Explicit:
      return "explicit";
  }
  return "?";
}

std::string_view to_string(Uncaptured reason) {
  switch (reason) {
    case Uncaptured::Udp:
      return "udp";
    case Uncaptured::Dns:
      return "dns";
    case Uncaptured::Quic:
      return "quic";
    case Uncaptured::Raw:
      return "raw";
    case Uncaptured::Other:
      return "other";
    case Uncaptured::BoundDevice:
      return "bound_device";
    case Uncaptured::Lease:
      return "lease";
    case Uncaptured::MapFull:
      return "map_full";
    case Uncaptured::NoListener:
      return "no_listener";
    case Uncaptured::PreExisting:
      return "pre_existing";
    case Uncaptured::Fragment:
      return "fragment";
  }
  return "?";
}

Result<std::unique_ptr<Capture>> Capture::create(CaptureOptions options, ListenerSink& sink) {
  if (options.workers == 0 || options.workers > TAPDECK_MAX_WORKERS) {
    return fail(Code::InvalidArgument, "capture.workers must be 1.." + std::to_string(TAPDECK_MAX_WORKERS));
  }
  if (options.listeners_max == 0 || options.listeners_max > TAPDECK_MAX_LISTENERS) {
    return fail(Code::InvalidArgument, "capture.listeners_max must be 1.." + std::to_string(TAPDECK_MAX_LISTENERS));
  }
  if (options.flow_map_entries == 0 || options.mark == 0 || options.mark == 0xffffffff) {
    return fail(Code::InvalidArgument, "capture.flow_map and capture.mark must not be 0");
  }
  auto capture = std::make_unique<CaptureImpl>(std::move(options), sink);
  TRY_VOID(capture->start());
  return capture;
}

Result<void> CaptureImpl::start() {
  TRY(home, open_own_netns());
  home_fd_ = std::move(home);
  TRY(cookie, netns_cookie());
  home_cookie_ = cookie;
  TRY(run, RunDirectory::open(options_.run_dir));
  run_ = std::move(run);
  TRY(maps, BpfMaps::create(options_.flow_map_entries));
  maps_ = std::move(maps);
  netns_ = std::make_unique<NetnsTable>(options_, *maps_, sink_, home_fd_.get(), home_cookie_);
  TRY(events, BpfEvents::open(maps_->events_fd(), [this](const tapdeck_event& event) { on_bpf_event(event); }));
  events_ = std::move(events);
  inotify_ = UniqueFd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  TRY(control, ControlThread::start(*this, kTick));
  control_ = std::move(control);
  return on_control([&]() -> Result<void> {
    TRY_VOID(control_->watch(events_->poll_fd(), EPOLLIN, kEventsToken));
    if (!inotify_) return {};  // out of inotify instances: the tick finds returning cgroups too, only later
    return control_->watch(inotify_.get(), EPOLLIN, kInotifyToken);
  });
}

CaptureImpl::~CaptureImpl() {
  if (control_) control_->call([this] { shut_down(); });
  control_.reset();
  events_.reset();
  netns_.reset();
  if (run_) run_->close();
}

void CaptureImpl::shut_down() {
  const bool keep = keep_closed_.load();
  // Past at once, so that what stays attached refuses from now on, not only after the lease.
  std::atomic_ref<__u64>(maps_->control().deadline_ns).store(0, std::memory_order_relaxed);
  for (uint32_t target = 0; target < kMaxTargets; ++target) {
    Slot& slot = slots_[target];
    if (slot.is_free()) continue;
    if (!keep || !is_closed(slot.policy)) ignore(detach_now(target), "going away; the record stays for the next start");
    slot.cgroup.reset();
    slot.interface.reset();
  }
  drop_steering_if_unused();
  ignore(run_->release_old(), "the record stays for the next start");
}

Result<void> CaptureImpl::on_control(const std::function<Result<void>()>& task) const {
  Result<void> result;
  control_->call([&] { result = task(); });
  return result;
}

// --- attach and detach ---

Result<void> CaptureImpl::attach_cgroup(uint32_t target, const std::string& cgroup_path, TargetPolicy policy) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  return on_control([&] { return attach_cgroup_now(target, cgroup_path, policy); });
}

Result<void> CaptureImpl::attach_interface(uint32_t target, const std::string& interface_name, TargetPolicy policy) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  return on_control([&] { return attach_interface_now(target, interface_name, policy); });
}

Result<void> CaptureImpl::attach_cgroup_now(uint32_t target, const std::string& path, TargetPolicy policy) {
  Slot& slot = slots_[target];
  if (slot.cgroup && slot.cgroup->path() == path && !slot.cgroup->gone() && slot.cgroup->alive()) {
    TRY_VOID(change_policy(target, policy));  // the programs are there already: no gap
    return cover_processes(target);
  }
  TRY(fresh, CgroupTarget::open(*maps_, target, options_.mark, path));
  if (!slot.is_free()) TRY_VOID(detach_now(target));
  slot.cgroup = std::move(fresh);
  slot.policy = policy;
  slot.used = true;
  slot.pre_existing += count_pre_existing(target);
  const auto begin = [&]() -> Result<void> {
    TRY_VOID(cover_processes(target));
    TRY_VOID(write_policy(target, policy));
    TRY_VOID(slot.cgroup->attach(*run_, pinned_of(policy)));
    run_->release_old_pins(slot.cgroup->id());
    return cover_processes(target);  // those that came between
  };
  if (auto begun = begin(); !begun) {
    ignore(detach_now(target), "the first error is the one to report");
    return begun;
  }
  watch_events(target);
  return {};
}

Result<void> CaptureImpl::attach_interface_now(uint32_t target, const std::string& name, TargetPolicy policy) {
  Slot& slot = slots_[target];
  if (!slot.is_free()) TRY_VOID(detach_now(target));
  TRY(fresh, TcTarget::open(*maps_, options_, target, name, home_cookie_, sink_,
                            [this] { return netns_->next_listener_id(); }));
  slot.interface = std::move(fresh);
  slot.policy = policy;
  slot.used = true;
  const auto begin = [&]() -> Result<void> {
    TRY_VOID(need_steering());
    TRY_VOID(write_policy(target, policy));
    return slot.interface->attach(*run_);
  };
  if (auto begun = begin(); !begun) {
    ignore(detach_now(target), "the first error is the one to report");
    return begun;
  }
  return {};
}

Result<void> CaptureImpl::write_policy(uint32_t target, TargetPolicy policy) const {
  tapdeck_target value{};
  value.active = 1;
  value.closed = is_closed(policy) ? 1 : 0;
  value.sealed = policy.sealed == Sealed::Yes ? 1 : 0;
  return maps_->set_target(target, value);
}

Result<void> CaptureImpl::set_policy(uint32_t target, TargetPolicy policy) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  return on_control([&]() -> Result<void> {
    if (slots_[target].is_free()) return fail(Code::NotFound, "no target in this slot");
    return change_policy(target, policy);
  });
}

Result<void> CaptureImpl::change_policy(uint32_t target, TargetPolicy policy) {
  Slot& slot = slots_[target];
  if (slot.cgroup && !slot.cgroup->gone()) TRY_VOID(slot.cgroup->set_pinned(*run_, pinned_of(policy)));
  TRY_VOID(write_policy(target, policy));
  slot.policy = policy;
  return {};
}

Result<void> CaptureImpl::detach(uint32_t target) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  return on_control([&]() -> Result<void> {
    if (slots_[target].is_free()) return fail(Code::NotFound, "no target in this slot");
    return detach_now(target);
  });
}

Result<void> CaptureImpl::detach_now(uint32_t target) {
  Slot& slot = slots_[target];
  Result<void> result;
  if (slot.cgroup) {
    if (slot.cgroup->events_fd() >= 0) control_->unwatch(slot.cgroup->events_fd());
    slot.cgroup->detach();
  }
  if (slot.interface) result = slot.interface->detach(*run_);
  ignore(maps_->set_target(target, {}), "the programs are gone already");
  slot.cgroup.reset();
  slot.interface.reset();
  netns_->leave(target, NetnsTable::Why::Detached, std::chrono::steady_clock::now());
  drop_steering_if_unused();
  return result;
}

Result<void> CaptureImpl::need_steering() {
  if (steering_) return {};
  const Steering steering{options_.mark + 1, options_.route_table};
  // Recorded first: a crash between the two leaves a record of nothing, which is harmless.
  TRY_VOID(run_->write(kSteeringRecord, std::to_string(steering.mark) + " " + std::to_string(steering.table) + "\n"));
  steering_ = true;
  return add_steering(steering);
}

void CaptureImpl::drop_steering_if_unused() {
  const bool used = std::ranges::any_of(slots_, [](const Slot& slot) { return slot.interface != nullptr; });
  if (!steering_ || used) return;
  if (remove_steering({options_.mark + 1, options_.route_table})) run_->remove(kSteeringRecord);
  steering_ = false;
}

// --- namespaces and events ---

Result<void> CaptureImpl::prepare_netns(uint32_t target, int netns_fd) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  UniqueFd copy(::dup(netns_fd < 0 ? home_fd_.get() : netns_fd));
  if (!copy) return fail_errno(errno, "dup network namespace", Origin::Kernel);
  return on_control([&] { return netns_->use(target, std::move(copy)); });
}

Result<void> CaptureImpl::cover_processes(uint32_t target) {
  for (const int pid : cgroup_processes(slots_[target].cgroup->directory_fd())) {
    auto ns = open_netns_of(pid);
    if (!ns) continue;  // the process ended meanwhile
    auto used = netns_->use(target, std::move(*ns));
    // A namespace whose loopback is down cannot be captured; the target's policy decides, counted as no_listener.
    if (!used && used.error().code != Code::Unreachable) return used;
  }
  return {};
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

void CaptureImpl::watch_events(uint32_t target) {
  const int fd = slots_[target].cgroup->events_fd();
  if (fd >= 0) ignore(control_->watch(fd, EPOLLPRI, target), "the tick looks at it too");
}

void CaptureImpl::on_ready(uint64_t token) {
  if (token == kEventsToken) {
    events_->consume();
  } else if (token == kInotifyToken) {
    std::array<char, 4096> drain{};
    while (::read(inotify_.get(), drain.data(), drain.size()) > 0) continue;
    for (uint32_t target = 0; target < kMaxTargets; ++target) look_for_cgroup(target);
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
  } else {
    ignore(cover_processes(target), "counted as no_listener by the programs until it works");
  }
}

void CaptureImpl::on_bpf_event(const tapdeck_event& event) {
  if (event.target >= kMaxTargets) return;
  if (event.kind == TAPDECK_EVENT_REFUSED) {
    Refusal refusal;
    refusal.target = event.target;
    refusal.pid = event.pid;
    refusal.protocol = event.protocol;
    refusal.destination = from_mapped(event.address, event.port);
    std::memcpy(refusal.comm.data(), event.comm, refusal.comm.size());
    refusal.comm.back() = '\0';
    sink_.on_refused(refusal);
    return;
  }
  const Slot& slot = slots_[event.target];
  if (event.kind != TAPDECK_EVENT_NO_LISTENER || !slot.cgroup || slot.cgroup->gone()) return;
  if (!netns_->has(event.netns_cookie)) {
    ignore(cover_processes(event.target), "counted as no_listener by the programs until it works");
  }
}

// --- targets that come and go ---

void CaptureImpl::lose_cgroup(uint32_t target) {
  Slot& slot = slots_[target];
  if (slot.cgroup->events_fd() >= 0) control_->unwatch(slot.cgroup->events_fd());
  slot.cgroup->mark_gone();
  netns_->leave(target, NetnsTable::Why::Detached, std::chrono::steady_clock::now());
  watch_for_return(slot.cgroup->path());
  sink_.on_cgroup_gone(target);
}

// Watches the nearest ancestor that exists: a container's cgroup may come back with its parents.
void CaptureImpl::watch_for_return(const std::string& path) {
  if (!inotify_) return;
  for (size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0; slash = path.rfind('/', slash - 1)) {
    if (::inotify_add_watch(inotify_.get(), path.substr(0, slash).c_str(), IN_CREATE | IN_ONLYDIR) >= 0) return;
  }
}

void CaptureImpl::look_for_cgroup(uint32_t target) {
  Slot& slot = slots_[target];
  if (!slot.cgroup || !slot.cgroup->gone()) return;
  if (!slot.cgroup->reopen()) {
    watch_for_return(slot.cgroup->path());
    return;
  }
  auto covered = cover_processes(target);
  auto attached = slot.cgroup->attach(*run_, pinned_of(slot.policy));
  if (!attached) {
    slot.cgroup->mark_gone();  // tried again with the next tick
    return;
  }
  watch_events(target);
  covered = cover_processes(target);
  ignore(covered, "counted as no_listener by the programs until it works");
  sink_.on_cgroup_back(target);
}

void CaptureImpl::look_at_interface(uint32_t target) {
  Slot& slot = slots_[target];
  if (!slot.interface) return;
  const auto presence = slot.interface->presence();
  if (presence == TcTarget::Presence::Same) return;
  const bool was_attached = slot.interface->attached();
  if (was_attached) slot.interface->forget_filter(*run_);
  if (was_attached) sink_.on_cgroup_gone(target);
  if (presence == TcTarget::Presence::Replaced && slot.interface->attach(*run_)) sink_.on_cgroup_back(target);
}

void CaptureImpl::on_tick() {
  ++ticks_;
  for (uint32_t target = 0; target < kMaxTargets; ++target) {
    look_for_cgroup(target);
    look_at_interface(target);
    const Slot& slot = slots_[target];
    if (slot.cgroup && !slot.cgroup->gone() && !slot.cgroup->alive()) lose_cgroup(target);
  }
  netns_->tick(std::chrono::steady_clock::now());
  if (ticks_ == kTakeOverTicks) ignore(run_->release_old(), "the record stays for the next start");
  if (ticks_ % kSweepTicks == 0) maps_->sweep_flows(monotonic_ns(), kFlowMaxAgeNs);
}

// --- what workers call ---

Result<CapturedFlow> CaptureImpl::resolve(const ListenerKey& listener, const Endpoint& client, const Endpoint& local) {
  CapturedFlow out;
  out.client = client;
  out.path = listener.path;
  out.identity.netns_cookie = listener.netns_cookie;
  if (listener.path == CapturePath::Tc && !local.is_loopback()) {
    out.original_destination = local;
    out.identity.target = listener.target;
    return out;
  }
  tapdeck_flow_key key{};
  key.netns_cookie = listener.netns_cookie;
  to_mapped(client, key.client);
  to_mapped(local, key.listener);
  key.client_port = client.port;
  key.listener_port = local.port;
  tapdeck_flow flow{};
  if (listener.path != CapturePath::Cgroup || !maps_->take_flow(key, flow)) {
    unknown_flows_.fetch_add(1, std::memory_order_relaxed);
    return fail(Code::NotFound, "nobody captured the connection from " + client.to_string(), Origin::Downstream);
  }
  out.original_destination = from_mapped(flow.original, flow.original_port);
  out.identity.target = flow.target;
  out.identity.pid = flow.pid;
  out.identity.uid = flow.uid;
  out.identity.cgroup_id = flow.cgroup_id;
  std::memcpy(out.identity.comm.data(), flow.comm, out.identity.comm.size());
  out.identity.comm.back() = '\0';
  return out;
}

Result<UniqueFd> CaptureImpl::upstream_socket(uint64_t netns_cookie, int family) {
  return netns_->upstream_socket(netns_cookie, family);
}

void CaptureImpl::renew_lease() {
  std::atomic_ref<__u64> deadline(maps_->control().deadline_ns);
  const uint64_t now = monotonic_ns();
  const uint64_t before = deadline.load(std::memory_order_relaxed);
  if (before != 0 && before < now) lease_expirations_.fetch_add(1, std::memory_order_relaxed);
  const auto lease = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.lease).count();
  deadline.store(now + static_cast<uint64_t>(lease), std::memory_order_relaxed);
}

Stats CaptureImpl::stats() const {
  Stats out;
  control_->call([&] {
    for (uint32_t target = 0; target < kMaxTargets; ++target) {
      const Slot& slot = slots_[target];
      if (!slot.used) continue;
      const CapturedCounters sum = maps_->counters(target);
      TargetStats one;
      one.target = target;
      one.attached = slot.cgroup ? !slot.cgroup->gone() : slot.interface && slot.interface->attached();
      one.captured = sum.count[TAPDECK_CAPTURED];
      std::copy_n(sum.count, kUncapturedReasons, one.uncaptured.begin());
      one.uncaptured[static_cast<size_t>(Uncaptured::PreExisting)] += slot.pre_existing;
      one.refused_sealed = sum.count[TAPDECK_REFUSED_SEALED];
      one.refused_lease = sum.count[TAPDECK_REFUSED_LEASE];
      one.refused_no_listener = sum.count[TAPDECK_REFUSED_NO_LISTENER];
      one.refused_map_full = sum.count[TAPDECK_REFUSED_MAP_FULL];
      one.refused_loop = sum.count[TAPDECK_REFUSED_LOOP];
      out.targets.push_back(one);
      out.listeners += slot.interface ? slot.interface->listeners() : 0;
    }
    const auto counts = netns_->counts();
    out.listeners += counts.listeners;
    out.namespaces = counts.namespaces;
  });
  tapdeck_control& control = maps_->control();
  const auto read = [](__u64& value) { return std::atomic_ref<__u64>(value).load(std::memory_order_relaxed); };
  const uint64_t removed = read(control.flows_removed);
  const uint64_t inserted = read(control.flows_inserted);
  out.flow_map_entries = inserted > removed ? inserted - removed : 0;
  out.flow_map_capacity = options_.flow_map_entries;
  out.events_lost = read(control.events_lost);
  out.lease_expirations = lease_expirations_.load();
  out.unknown_flows = unknown_flows_.load();
  return out;
}

}  // namespace tapdeck::kernel
