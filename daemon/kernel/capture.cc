#include "daemon/kernel/capture.h"

#include <sys/epoll.h>
#include <sys/inotify.h>

#include <algorithm>
#include <cstring>

#include "daemon/base/log.h"
#include "daemon/kernel/capabilities.h"
#include "daemon/kernel/capture_impl.h"
#include "daemon/kernel/netns.h"

namespace tapdeck::kernel {
namespace {

static_assert(kMaxTargets == TAPDECK_MAX_TARGETS);
static_assert(kMaxWorkers == TAPDECK_MAX_WORKERS);
static_assert(kUncapturedReasons == TAPDECK_REASONS);
static_assert(static_cast<int>(Uncaptured::Fragment) == TAPDECK_FRAGMENT);
static_assert(static_cast<int>(Uncaptured::LeftCgroup) == TAPDECK_LEFT_CGROUP);
static_assert(static_cast<int>(Uncaptured::ToHost) == TAPDECK_TO_HOST);
static_assert(static_cast<int>(Uncaptured::Lease) == TAPDECK_LEASE);
static_assert(static_cast<int>(Names::Observed) == TAPDECK_NAMES_OBSERVED);
static_assert(static_cast<int>(Names::Answered) == TAPDECK_NAMES_ANSWERED);

}  // namespace

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
  TRY_VOID(may_capture(missing_capabilities()));
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
  TRY(events, BpfEvents::open({maps_->events_fd(), [this](const tapdeck_event& event) { on_bpf_event(event); }},
                              {maps_->sightings_fd(), [this](const tapdeck_sighting& seen) { on_sighting(seen); }}));
  events_ = std::move(events);
  inotify_ = UniqueFd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (auto watch = CgroupWatch::open()) {
    watch_ = std::move(*watch);
  } else {
    log::warn("capture.watches",
              "cgroups below the targets cannot be watched: the first connection from a new network namespace may pass "
              "uncaptured (no_listener)",
              {{"error", watch.error().message()}});
  }
  TRY(control, ControlThread::start(*this, kTick));
  control_ = std::move(control);
  return on_control([&]() -> Result<void> {
    TRY_VOID(control_->watch(events_->poll_fd(), EPOLLIN, kEventsToken));
    if (watch_) {
      TRY_VOID(control_->watch(watch_->events_fd(), EPOLLIN, kWatchToken));
      TRY_VOID(control_->watch(watch_->timer_fd(), EPOLLIN, kWatchToken));
    }
    if (!inotify_) return {};  // out of inotify instances: the tick finds returning cgroups too, only later
    return control_->watch(inotify_.get(), EPOLLIN, kInotifyToken);
  });
}

CaptureImpl::~CaptureImpl() {
  if (control_) control_->call([this] { shut_down(); });
  control_.reset();
  escapes_.reset();
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
  // What is thrown there stays there: it must not look like success.
  Result<void> result = fail(Code::Internal, "the capture thread could not do it", Origin::Internal);
  control_->call([&] { result = task(); });
  return result;
}

// --- what workers call ---

namespace {

tapdeck_flow_key flow_key(uint64_t netns_cookie, const Endpoint& client, const Endpoint& ours) {
  tapdeck_flow_key key{};
  key.netns_cookie = netns_cookie;
  to_mapped(client, key.client);
  to_mapped(ours, key.listener);
  key.client_port = client.port;
  key.listener_port = ours.port;
  return key;
}

void tell_flow(const tapdeck_flow& flow, CapturedFlow& out) {
  out.original_destination = from_mapped(flow.original, flow.original_port);
  out.identity.target = flow.target;
  out.identity.pid = flow.pid;
  out.identity.uid = flow.uid;
  out.identity.cgroup_id = flow.cgroup_id;
  std::memcpy(out.identity.comm.data(), flow.comm, out.identity.comm.size());
  out.identity.comm.back() = '\0';
}

}  // namespace

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
  const tapdeck_flow_key key = flow_key(listener.netns_cookie, client, local);
  tapdeck_flow flow{};
  if (listener.path != CapturePath::Cgroup || !maps_->take_flow(key, flow)) {
    unknown_flows_.fetch_add(1, std::memory_order_relaxed);
    return fail(Code::NotFound, "nobody captured the connection from " + client.to_string(), Origin::Downstream);
  }
  tell_flow(flow, out);
  return out;
}

Result<CapturedFlow> CaptureImpl::resolve_question(uint64_t netns_cookie, const Endpoint& client,
                                                   const Endpoint& door) {
  tapdeck_flow flow{};
  if (!maps_->find_question(flow_key(netns_cookie, client, door), flow)) {
    return fail(Code::NotFound, "nobody captured the datagram from " + client.to_string(), Origin::Downstream);
  }
  CapturedFlow out;
  out.client = client;
  out.path = CapturePath::Cgroup;
  out.identity.netns_cookie = netns_cookie;
  tell_flow(flow, out);
  return out;
}

Result<UniqueFd> CaptureImpl::upstream_socket(uint64_t netns_cookie, int family) {
  return netns_->upstream_socket(netns_cookie, family);
}

Result<UniqueFd> CaptureImpl::datagram_socket(uint64_t netns_cookie, int family) {
  return netns_->upstream_socket(netns_cookie, family, Transport::Udp);
}

LeaseWas CaptureImpl::renew_lease() {
  std::atomic_ref<__u64> deadline(maps_->control().deadline_ns);
  const uint64_t now = monotonic_ns();
  const uint64_t before = deadline.load(std::memory_order_relaxed);
  const bool ran_out = before != 0 && before < now;
  if (ran_out) lease_expirations_.fetch_add(1, std::memory_order_relaxed);
  const auto lease = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.lease).count();
  deadline.store(now + static_cast<uint64_t>(lease), std::memory_order_relaxed);
  return ran_out ? LeaseWas::RunOut : LeaseWas::Kept;
}

uint64_t CaptureImpl::lapsed_flows() const {
  uint64_t all = 0;
  for (uint32_t target = 0; target < kMaxTargets; ++target) all += maps_->counters(target).count[TAPDECK_LEASE];
  return all;
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
      if (slot.interface != nullptr) one.path = CapturePath::Tc;
      one.attached =
          slot.cgroup ? !slot.cgroup->gone() : slot.interface && slot.interface->attached() && slot.trouble.empty();
      one.others = slot.others;
      one.trouble = slot.trouble;
      one.gaps = slot.gaps;
      one.gap_total = slot.gap_total;
      one.captured = sum.count[TAPDECK_CAPTURED];
      std::copy_n(sum.count, kUncapturedReasons, one.uncaptured.begin());
      one.uncaptured[static_cast<size_t>(Uncaptured::PreExisting)] += slot.pre_existing;
      one.refused_sealed = sum.count[TAPDECK_REFUSED_SEALED];
      one.refused_sealed_udp = sum.count[TAPDECK_REFUSED_SEALED_UDP];
      one.refused_sealed_dns = sum.count[TAPDECK_REFUSED_SEALED_DNS];
      one.refused_sealed_other = sum.count[TAPDECK_REFUSED_SEALED_OTHER];
      one.refused_lease = sum.count[TAPDECK_REFUSED_LEASE];
      one.refused_no_listener = sum.count[TAPDECK_REFUSED_NO_LISTENER];
      one.refused_map_full = sum.count[TAPDECK_REFUSED_MAP_FULL];
      one.refused_loop = sum.count[TAPDECK_REFUSED_LOOP];
      one.refused_as_recorded = sum.count[TAPDECK_REFUSED_AS_RECORDED];
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
