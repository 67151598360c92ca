#include "daemon/app/engine.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>
#include <utility>

#include "daemon/app/share_descriptors.h"
#include "daemon/app/target_settings.h"
#include "daemon/base/log.h"
#include "daemon/base/threads.h"
#include "daemon/kernel/capabilities.h"
#include "daemon/kernel/namespace_capture.h"
#include "daemon/kernel/no_capture.h"
#include "daemon/modes/select.h"
#include "store/redact.h"

namespace tapdeck::app {
namespace {

std::vector<std::string> strings_of(const std::vector<std::filesystem::path>& paths) {
  std::vector<std::string> out;
  for (const auto& path : paths) out.push_back(path.string());
  return out;
}

store::Durability durability_of(config::Durability durability) {
  switch (durability) {
    case config::Durability::Wal:
      return store::Durability::Wal;
    case config::Durability::Fsync:
      return store::Durability::Fsync;
    case config::Durability::Async:
      return store::Durability::Async;
  }
  return store::Durability::Wal;
}

// No capture listener has this id.
constexpr uint64_t kProxyListener = UINT64_MAX;
constexpr int kBacklog = 4096;
// What clients said before they ended is on its way to their origins that long. Then, again and again: an end may be
// behind what we have not read.
constexpr std::chrono::milliseconds kLastWords{200};
constexpr std::chrono::milliseconds kDropEvery{50};

Result<UniqueFd> listen_for_clients(const Endpoint& endpoint) {
  sockaddr_storage address{};
  const socklen_t length = endpoint.to_sockaddr(address);
  UniqueFd fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, "socket of proxy.listen");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return fail_errno(errno, "cannot listen on " + endpoint.to_string() + " (proxy.listen)");
  }
  return fd;
}

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool has_no_targets(const config::Config& config, const Paths& paths) {
  if (!config.targets.empty()) return false;
  const auto kept = load_targets(paths.targets);
  return kept && kept->empty();
}

Error would_pass_unseen(Error error, const Paths& paths) {
  error.detail += "; proxy.listen alone needs none, but there are targets (in the configuration or " +
                  paths.targets.string() + "), whose connections would pass unseen";
  return error;
}

// A `run` may own the store for a while, after the daemon it recorded beside was killed: its end is waited for.
constexpr std::chrono::seconds kWaitForRun{30};
constexpr std::chrono::milliseconds kLookForRun{500};

// Beside two a worker (its loop and its reader): log, store writer, intake, key filter, capture, names and heartbeat,
// RocksDB's four (store_open.cc), and of the daemon admin API's two and the three that watch targets; two for what a
// moment needs.
constexpr unsigned kOtherThreads = 18;

// Signals wait, blocked, for who takes them once the service is there.
bool is_told_to_stop() {
  sigset_t pending;
  return ::sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(const config::Config& config, const Paths& paths,
                                               MetricsRegistry& metrics, StoreUse use, CaptureBy by) {
  const Result<void> allowed =
      by == CaptureBy::Namespace ? Result<void>{} : kernel::may_capture(kernel::missing_capabilities());
  const bool is_service = use == StoreUse::Own && paths.capture_dir.empty();  // a `run` has one of its own
  if (!allowed) {                                                             // before anything is made
    if (!is_service || config.proxy.listen.empty()) return std::unexpected(allowed.error());
    if (!has_no_targets(config, paths)) return std::unexpected(would_pass_unseen(allowed.error(), paths));
  }
  const unsigned cores = std::clamp(std::thread::hardware_concurrency(), 1U, kernel::kMaxWorkers);
  const unsigned workers = config.capture.workers == 0 ? cores : config.capture.workers;
  share_descriptors(config.limits.connections, workers, is_service ? TellOfFew::Yes : TellOfFew::No);
  TRY_VOID(check_threads(2 * workers + kOtherThreads));  // one that is refused later ends the process
  std::unique_ptr<Engine> engine(new Engine(config, metrics));
  engine->config_loaded_ = unix_seconds();
  TRY_VOID(make_directories(paths));
  TRY_VOID(engine->open_tls(paths));
  TRY_VOID(engine->open_store(paths, use));
  engine->open_names();
  engine->start_workers(workers);
  if (allowed) {
    TRY_VOID(engine->open_capture(paths, workers, by));
  } else {
    log::warn("capture.none", "only clients of proxy.listen are served: " + allowed.error().detail,
              {{"listen", config.proxy.listen}});
    TRY_VOID(engine->use_capture(std::make_unique<kernel::NoCapture>(allowed.error())));
  }
  engine->started_ = unix_seconds();
  metrics.add_source(*engine);
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::create_owner(const config::Config& config, const Paths& paths,
                                                     MetricsRegistry& metrics) {
  const auto give_up = std::chrono::steady_clock::now() + kWaitForRun;
  bool told = false;
  while (true) {
    auto engine = create(config, paths, metrics, StoreUse::Own);
    if (engine || engine.error().code != Code::Busy || engine.error().origin != Origin::Store) return engine;
    const store::StoreOwner owner = store::ExchangeStore::owner_of(paths.store.string());
    if (!owner.admin_socket.empty() || is_told_to_stop() || std::chrono::steady_clock::now() > give_up) return engine;
    if (!std::exchange(told, true)) {
      log::warn("store.waiting", "a tapdeck run owns the store; it is waited for", {{"owner_pid", owner.pid}});
    }
    std::this_thread::sleep_for(kLookForRun);
  }
}

Result<void> Engine::open_tls(const Paths& paths) {
  tls::CaOptions ca_options;
  ca_options.name_constraints = config_.tls.name_constraints;
  TRY(ca, tls::CertificateAuthority::load_or_create(paths.ca_cert.string(), paths.ca_key.string(), ca_options));
  ca_ = std::move(ca);
  TRY(untrusted, tls::CertificateAuthority::create_untrusted());
  untrusted_ca_ = std::move(untrusted);
  tls::LeafCacheOptions leaf_options;
  leaf_options.capacity = config_.tls.leaf_cache;
  leaf_options.leaf_lifetime = std::chrono::days(config_.tls.leaf_days);
  leaves_ = std::make_unique<tls::LeafCache>(*ca_, *untrusted_ca_, leaf_options);
  tls::ServerContextOptions server_options;
  if (config_.tls.min_version == config::TlsVersion::V13) server_options.min_version = tls::MinVersion::Tls13;
  TRY(server, tls::ServerContext::create(server_options));
  server_tls_ = std::move(server);
  TRY(trust, tls::UpstreamTrust::create(tls::SystemRoots::Use, strings_of(config_.tls.upstream_ca)));
  trust_ = std::move(trust);
  return {};
}

Result<void> Engine::open_store(const Paths& paths, StoreUse use) {
  store::StoreOptions options;
  options.path = paths.store.string();
  options.durability = durability_of(config_.storage.durability);
  options.max_bytes = config_.storage.max_bytes;
  options.max_recordings = config_.storage.max_recordings;
  options.max_age = config_.storage.max_age;
  options.cache_bytes = config_.storage.cache_bytes;
  options.admin_socket = paths.admin_socket.string();
  const auto access = use == StoreUse::Read ? store::Access::ReadOnly : store::Access::ReadWrite;
  if (use == StoreUse::Read) take_in_pending(paths.store);
  using Answers = store::ExchangeStore::Answers;
  const bool is_beside = use == StoreUse::Beside || use == StoreUse::BesideAndRead;
  const Answers answers = use == StoreUse::BesideAndRead ? Answers::Too : Answers::Own;
  auto opened =
      is_beside ? store::ExchangeStore::open_pending(options, answers) : store::ExchangeStore::open(options, access);
  if (!opened) {
    metrics_.add(Counter::StoreErrorOpen);
    return std::unexpected(opened.error());
  }
  store_ = std::move(*opened);
  use_ = use;
  if (use != StoreUse::Read) {
    TRY(writer, store::StoreWriter::start(*store_));
    writer_ = std::move(writer);
  }
  if (use == StoreUse::Own) intake_ = std::make_unique<PendingIntake>(*store_);
  store::RedactOptions redact{config_.redact.headers, config_.redact.query};
  redactor_ = std::make_unique<store::Redactor>(redact, store_->redaction_secret());
  tapes_ = std::make_unique<Tapes>(*store_, runtime_, cursors_, metrics_, Tapes::routes_of(config_.routes));
  return {};
}

void Engine::open_names() {
  if (const auto admin = Endpoint::parse(config_.admin.listen)) own_.add(*admin);
  const auto listen = Endpoint::parse(config_.proxy.listen);
  if (!listen) return;
  own_.add_proxy(*listen);
  upstream::ResolverOptions options{config_.dns.servers, config_.limits.dns_timeout};
  resolver_ = std::make_unique<upstream::Resolver>(std::move(options));
}

Result<void> Engine::listen_for_proxy_clients() {
  const auto listen = Endpoint::parse(config_.proxy.listen);
  if (!listen) return {};
  TRY(listener, listen_for_clients(*listen));
  proxy_listener_ = std::move(listener);
  return {};
}

Result<void> Engine::serve_proxy_clients() {
  if (!proxy_listener_) return {};
  for (const auto& worker : workers_) {
    // One socket under several descriptors, not SO_REUSEPORT: with that a second daemon could share the port unseen.
    UniqueFd own(::fcntl(proxy_listener_.get(), F_DUPFD_CLOEXEC, 0));
    if (!own) return fail_errno(errno, "duplicate the listener of proxy.listen");
    worker->add_listener(std::move(own), {CapturePath::Explicit, kProxyListener, 0, kProxySlot});
  }
  proxy_listener_.reset();
  log::info("proxy.listening", "explicit and reverse proxy clients are served", {{"listen", config_.proxy.listen}});
  return {};
}

void Engine::start_workers(unsigned count) {
  server::SharedParts parts;
  parts.config = &config_;
  parts.flows = &bridge_;
  parts.sockets = &bridge_;
  parts.trust = trust_.get();
  parts.server_tls = server_tls_.get();
  parts.leaves = leaves_.get();
  parts.store = store_.get();
  parts.writer = writer_.get();
  parts.redactor = redactor_.get();
  parts.runtime = &runtime_;
  parts.cursors = &cursors_;
  parts.misses = &misses_;
  parts.judgements = &judgements_;
  parts.metrics = &metrics_;
  parts.connections = &connections_;
  parts.interrupted = &interrupted_;
  parts.resolver = resolver_.get();
  parts.own = &own_;
  // Two ticks a heartbeat, four heartbeats a lease.
  parts.tick = std::chrono::milliseconds(std::clamp<uint32_t>(config_.capture.lease_ms / 8, 10, 100));
  for (unsigned i = 0; i < count; ++i) workers_.push_back(std::make_unique<server::Worker>(i, parts));
}

Result<void> Engine::open_capture(const Paths& paths, unsigned workers, CaptureBy by) {
  if (by == CaptureBy::Namespace) {
    return use_capture(kernel::namespace_capture(bridge_, workers));
  }
  kernel::CaptureOptions options;
  options.run_dir = (paths.capture_dir.empty() ? paths.run_dir : paths.capture_dir).string();
  options.mark = config_.capture.mark;
  options.flow_map_entries = config_.capture.flow_map;
  options.lease = std::chrono::milliseconds(config_.capture.lease_ms);
  options.workers = workers;
  options.listeners_max = std::min<uint32_t>(64, config_.capture.listeners_max);
  TRY(capture, kernel::Capture::create(options, bridge_));
  return use_capture(std::move(capture));
}

Result<void> Engine::use_capture(std::unique_ptr<kernel::Capture> capture) {
  capture_ = std::move(capture);
  refusals_ = std::make_unique<Refusals>(config_, *store_, [this](uint32_t slot, const std::vector<Endpoint>& to) {
    return capture_->refuse_as_recorded(slot, to);
  });
  std::vector<server::Worker*> all;
  for (const auto& worker : workers_) all.push_back(worker.get());
  names_ = std::make_unique<NameService>(
      NameService::Parts{config_, *store_, writer_.get(), runtime_, use_ != StoreUse::Beside});
  bridge_.connect(*capture_, all, own_, *names_);
  TRY_VOID(names_->start(*capture_));
  for (server::Worker* worker : all) worker->start();
  renew_lease();
  const std::chrono::milliseconds interval(std::max<uint32_t>(config_.capture.lease_ms / 4, 20));
  heartbeat_ = std::make_unique<Heartbeat>(all, interval, [this] { renew_lease(); });
  return {};
}

void Engine::renew_lease() {
  if (capture_->renew_lease() == kernel::LeaseWas::RunOut) tell_lapse();
  lease_deadline_.store(unix_seconds() + config_.capture.lease_ms / 1000.0, std::memory_order_relaxed);
  names_->tick();
}

void Engine::tell_lapse() {
  const uint64_t seen = capture_->lapsed_flows();  // not stats(): what waits here lets the lease run out again
  const uint64_t before = std::exchange(lapsed_flows_, seen);
  const uint64_t since = seen - std::min(seen, before);  // less: a target with some was detached
  log::line(since > 0 ? log::Level::Warn : log::Level::Info, "lease.ran_out",
            "tapdeck stood still for longer than its lease; connections passed directly meanwhile, of closed targets "
            "they were refused",
            {{"connections", since}, {"lease_ms", config_.capture.lease_ms}});
}

void Engine::let_go(uint32_t slot) {
  kernel_counts_.take(capture_->stats(), *runtime_.load());
  tapes_->vacate(slot);
  names_->let_go(slot);
  for (const auto& worker : workers_) worker->let_go(static_cast<TargetSlot>(slot));
}

void Engine::reset_tunnels(uint32_t slot) {
  for (const auto& worker : workers_) worker->reset_tunnels(static_cast<TargetSlot>(slot));
}

void Engine::drain(std::chrono::milliseconds limit, Clients clients) {
  if (drained_) return;
  drained_ = true;
  for (const auto& worker : workers_) worker->drain();
  const auto began = std::chrono::steady_clock::now();
  const auto deadline = began + limit;
  auto next_drop = began + kLastWords;
  auto next_note = began + std::chrono::seconds(2);
  const auto is_drained = [](const auto& worker) { return worker->is_drained(); };
  while (!std::ranges::all_of(workers_, is_drained) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto now = std::chrono::steady_clock::now();
    if (clients == Clients::Gone && now >= next_drop) {
      for (const auto& worker : workers_) worker->drop_left();
      next_drop = now + kDropEvery;
    }
    if (now < next_note) continue;
    next_note += std::chrono::seconds(2);
    log::info("drain.waiting", "connections are still open", {{"connections", connections_.load()}});
  }
  for (const auto& worker : workers_) worker->stop();
  if (names_ != nullptr) names_->stop();
  if (writer_ != nullptr) writer_->flush();
}

Engine::~Engine() {
  metrics_.remove_source(*this);
  heartbeat_.reset();
  intake_.reset();
  drain(std::chrono::milliseconds(0));
  capture_.reset();
}

void Engine::tell_targets(const modes::RuntimeSnapshot& now, const kernel::Stats& stats, MetricsSnapshot& out) const {
  const auto tell = [&](uint32_t slot, CapturePath path) {
    const modes::TargetState& state = now.targets[slot];
    if (state.name.empty()) return;  // detached
    out.targets.push_back({state.label, path, state.mode, state.sealed == modes::Sealed::Yes});
  };
  if (!config_.proxy.listen.empty()) tell(kProxySlot, CapturePath::Explicit);
  for (const kernel::TargetStats& target : stats.targets) {
    tell(target.target, target.path);
  }
}

void Engine::read(MetricsSnapshot& out) {
  const kernel::Stats stats = capture_->stats();
  const auto now = runtime_.load();
  kernel_counts_.take(stats, *now);
  kernel_counts_.read(out);
  names_->read(out);
  tell_targets(*now, stats, out);
  out.add(Gauge::FlowMapEntries, static_cast<double>(stats.flow_map_entries));
  out.add(Gauge::FlowMapCapacity, static_cast<double>(stats.flow_map_capacity));
  out.add(Counter::KernelEventsLost, stats.events_lost);
  for (const kernel::TargetStats& target : stats.targets) {
    if (target.attached && target.path == CapturePath::Cgroup) out.add(Gauge::AttachedCgroup, 1);
    if (target.attached && target.path == CapturePath::Tc) out.add(Gauge::AttachedTc, 1);
    if (target.attached) out.add(Gauge::Targets, 1);
    out.add(Counter::ReplayRefusedConnect, target.refused_as_recorded);
    out.add(Counter::LeaseExpiredClosed, target.refused_lease);
    const auto lease = target.uncaptured[static_cast<size_t>(kernel::Uncaptured::Lease)];
    out.add(Counter::LeaseExpiredOpen, lease - std::min(lease, target.refused_lease));
  }
  out.add(Gauge::LeaseDeadline, lease_deadline_.load(std::memory_order_relaxed));
  out.add(Gauge::StartTime, started_);
  out.add(Gauge::ConfigLoadedTime, config_loaded_);
  out.add(Gauge::Workers, static_cast<double>(workers_.size()));
  out.add(Gauge::StoreBytes, static_cast<double>(store_->stored_bytes()));
  out.add(Gauge::StoreRecordings, static_cast<double>(store_->stored_recordings()));
  out.add(Counter::IncompleteCrash, store_->recovered());
  const store::PruneCounts pruned = store_->pruned();
  out.add(Counter::StorePrunedBytes, pruned.by_bytes);
  out.add(Counter::StorePrunedCount, pruned.by_count);
  out.add(Counter::StorePrunedAge, pruned.by_age);
  if (writer_ != nullptr) out.add(Gauge::StoreQueue, static_cast<double>(writer_->stats().queued_bytes));
  const tls::LeafCache::Stats leaves = leaves_->stats();
  out.add(Counter::LeafCacheHit, leaves.hits);
  out.add(Counter::LeafCacheMiss, leaves.misses);
}

}  // namespace tapdeck::app
