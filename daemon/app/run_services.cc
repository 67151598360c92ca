#include "daemon/app/leftovers.h"
#include "daemon/app/run_command.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>
#include <thread>
#include <utility>

#include "daemon/app/engine.h"
#include "daemon/app/name_policy.h"
#include "daemon/app/pending_intake.h"
#include "daemon/app/run_namespace.h"
#include "daemon/app/serve.h"
#include "daemon/base/log.h"
#include "daemon/modes/select.h"
#include "store/merge_receipt.h"

namespace tapdeck::app {

namespace {

// The one target of a run.
constexpr uint32_t kSlot = 1;
// An owner looks for pending recordings four times a second; many of them take it longer.
constexpr std::chrono::milliseconds kMergePatience{5000};

std::string protocol_name(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      return "icmp";
    default:
      return "raw";
  }
}

class InProcess final : public RunServices {
 public:
  InProcess(const RunOptions& options, config::Config config, Paths paths)
      : options_(options), config_(std::move(config)), paths_(std::move(paths)) {}

  ~InProcess() override { close(); }

  Result<void> open() {
    TRY_VOID(open_engine());
    if (options_.append && !modes::may_record(options_.mode, config_.routes)) {
      log::warn("run.append", "--append has no effect: this run records nothing");
    }
    Result<void> assigned = engine_->tapes().assign(kSlot, assignment());
    if (!assigned && assigned.error().code == Code::NotFound) assigned.error().detail += " (--session NAME)";
    return assigned;
  }

  std::string ca_pem() const override { return engine_->ca().certificate_pem(); }
  std::filesystem::path run_dir() const override { return paths_.run_dir; }

  Result<void> attach(const std::string& cgroup_path) override {
    // The command starts in our own namespace: its listeners must exist before its first connect.
    TRY_VOID(engine_->capture().prepare_netns(kSlot, -1));
    kernel::TargetPolicy policy;
    if (config::lease_policy(config_.capture, options_.mode) == config::OnLease::Closed) {
      policy.on_lease = kernel::OnLease::Closed;
    }
    if (options_.sealed) policy.sealed = kernel::Sealed::Yes;
    policy.names = names_of(options_.mode, assignment().sealed);
    TRY_VOID(record_cgroup(cgroup_path));
    TRY_VOID(engine_->capture().attach_cgroup(kSlot, cgroup_path, policy));
    engine_->refusals().follow(kSlot, assignment());
    return {};
  }

  Result<void> attach(RunNamespace& made) override {
    if (modes::may_answer_from_tape(options_.mode, config_.routes)) {
      TRY_VOID(made.learn(SessionNames(engine_->store(), options_.session).destinations()));
    }
    NameSockets sockets = made.take_name_sockets();
    TRY_VOID(engine_->names().serve(std::move(sockets.v4), std::move(sockets.v6), kSlot));
    TRY_VOID(engine_->capture().attach_namespace(kSlot, made.take_listeners()));
    engine_->refusals().follow(kSlot, assignment());
    return {};
  }

  void interrupt() override { engine_->interrupt(); }

  void drain(std::chrono::milliseconds deadline) override {
    uncaptured_ = uncaptured();
    refused_unlisted_ = refused_unlisted();
    auto detached = engine_->capture().detach(kSlot);
    if (!detached) log::warn("run.detach_failed", detached.error().message());
    engine_->names().stop(NameService::Clients::Gone);
    engine_->drain(deadline, Engine::Clients::Gone);
    if (engine_->store().check_place()) return;
    is_store_gone_ = true;
    log::error("run.store_gone", "the state directory was removed or renamed while it ran: what was recorded is lost",
               {{"state_dir", paths_.state_dir.string()}});
  }

  RunSummary summary() override {
    RunSummary out;
    out.session = options_.session;
    out.mode = options_.mode;
    out.capture = options_.capture;
    const MetricsSnapshot snapshot = metrics_.snapshot();
    std::array<uint64_t, kOutcomeCount> outcomes{};
    for (size_t i = 0; i < snapshot.requests.size(); ++i) {
      outcomes[i / kCodeClasses % kOutcomeCount] += snapshot.requests[i];
    }
    // Failures and what broke off are on tape too, and replayed.
    for (const Counter kept : {Counter::RecordingComplete, Counter::RecordingFailed, Counter::RecordingIncomplete}) {
      out.recorded += snapshot.value(kept);
    }
    if (!reads_) out.recorded = std::min(out.recorded, engine_->written());  // what nobody waited for may have failed
    out.failed_recorded = std::min(out.recorded, snapshot.value(Counter::RecordingFailed));
    out.replayed = outcomes[static_cast<size_t>(Outcome::Replayed)];
    out.missed = outcomes[static_cast<size_t>(Outcome::Missed)];
    out.misses = engine_->misses().list();
    out.forwarded = outcomes[static_cast<size_t>(Outcome::Forwarded)];
    out.lost = snapshot.value(Counter::RecordingDropped);
    out.names_lost = engine_->names().lost();
    out.forwarded -= std::min(out.forwarded, out.lost);
    if (!reads_) count_late(out, engine_->written());  // drain() has waited for the store
    if (is_store_gone_) {
      out.lost += std::exchange(out.recorded, 0);
      out.failed_recorded = 0;
    }
    const bool stays = out.recorded > 0 || (engine_->has_noted() && !is_store_gone_);
    if (stays) out.take = engine_->tapes().take_of(kSlot);
    for (auto i = static_cast<size_t>(Counter::TunnelledBypass); i <= static_cast<size_t>(Counter::TunnelledConnect);
         ++i) {
      out.tunnelled += snapshot.counters[i];
    }
    out.tunnels_failed = snapshot.value(Counter::TunnelsFailed);
    out.refused_as_recorded =
        snapshot.value(Counter::ReplayRefusedConnect) + snapshot.value(Counter::ReplayRefusedReset);
    const uint64_t left = snapshot.value(Counter::TlsDownLeft);
    out.ca_rejected = snapshot.value(Counter::TlsDownRejectedCa) + left;
    out.ca_rejected -= std::min(left, engine_->judgements().taken_back());
    out.tls_failed = snapshot.value(Counter::TlsDownNoAgreement);
    out.uncaptured = uncaptured_;
    out.refused_unlisted = refused_unlisted_;
    for (const kernel::Refusal& refusal : engine_->bridge().refusals()) {
      // A socket of another kind is refused as it is made, before it has a destination.
      const bool placed = refusal.destination.port != 0;
      out.refused.push_back({refusal.pid, std::string(refusal.comm.data()), protocol_name(refusal.protocol),
                             placed ? refusal.destination.to_string() : "", std::string()});
    }
    for (UnknownName& unknown : engine_->names().unknown()) {
      out.refused.push_back({unknown.pid, std::move(unknown.comm), "dns", "", std::move(unknown.name)});
    }
    if (!pending_.empty()) tell_merged(out);
    return out;
  }

 private:
  [[nodiscard]] Assignment assignment() const {
    Assignment out;
    out.name = config::kRunTarget;
    out.mode = options_.mode;
    out.session = options_.session;
    out.sealed = options_.sealed ? modes::Sealed::Yes : modes::Sealed::No;
    out.append = options_.append ? store::Append::Yes : store::Append::No;
    return out;
  }

  // For whoever comes after our death: before programs are pinned to it.
  [[nodiscard]] Result<void> record_cgroup(const std::string& cgroup_path) const {
    const std::filesystem::path path = paths_.capture_dir / kCgroupRecord;
    std::ofstream file(path, std::ios::trunc);
    file << cgroup_path;
    file.close();
    if (!file) return fail_errno(errno, "write " + path.string());
    return {};
  }

  [[nodiscard]] std::map<std::string, uint64_t> uncaptured() {
    std::map<std::string, uint64_t> reasons;
    for (const kernel::TargetStats& target : engine_->capture().stats().targets) {
      for (size_t i = 0; i < kernel::kUncapturedReasons; ++i) {
        const std::string reason(kernel::to_string(static_cast<kernel::Uncaptured>(i)));
        if (target.uncaptured[i] > 0) reasons[reason] += target.uncaptured[i];
      }
    }
    return reasons;
  }

  [[nodiscard]] std::map<std::string, uint64_t> refused_unlisted() {
    std::map<std::string, uint64_t> reasons;
    for (const kernel::TargetStats& target : engine_->capture().stats().targets) {
      reasons["lease"] += target.refused_lease;
      reasons["no_listener"] += target.refused_no_listener;
      reasons["map_full"] += target.refused_map_full;
    }
    return reasons;
  }

  // Beside an owner, session and take are known once its recordings are taken in.
  void tell_merged(RunSummary& out) {
    close();
    out.take = 0;
    const std::optional<store::MergedAs> merged =
        receipt_ && !std::filesystem::exists(pending_) ? receipt_->of(options_.session) : std::nullopt;
    if (!merged) return;
    out.take = merged->take;
    out.session = merged->session;
    out.asked_session = options_.session;
  }

  void close() {
    if (engine_ == nullptr) return;
    engine_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(paths_.capture_dir, ignored);
    if (!reads_) merge_pending();
  }

  // Replay reads, whoever writes; recording owns the store, or writes beside its owner.
  Result<void> open_engine() {
    reads_ = options_.mode == Mode::Replay && !modes::may_record(options_.mode, config_.routes);
    std::error_code unknown;
    const bool is_there = std::filesystem::exists(paths_.store, unknown);
    if (reads_ && !paths_.state_dir.empty() && !is_there && !unknown) return nothing_recorded();  // a name mistyped
    clean_dead_runs(paths_.run_dir);
    paths_.admin_socket.clear();  // a run has none
    paths_.capture_dir = paths_.run_dir / (std::string(kRunCapturePrefix) + std::to_string(::getpid()));
    const CaptureBy by = options_.capture == "netns" ? CaptureBy::Namespace : CaptureBy::Programs;
    auto engine = Engine::create(config_, paths_, metrics_, reads_ ? StoreUse::Read : StoreUse::Own, by);
    if (!engine && engine.error().code == Code::Busy && engine.error().origin == Origin::Store && !reads_) {
      const bool answers = modes::may_answer_from_tape(options_.mode, config_.routes);
      engine = Engine::create(config_, paths_, metrics_, answers ? StoreUse::BesideAndRead : StoreUse::Beside, by);
      if (engine) pending_ = (*engine)->store().options().path;
      if (engine) receipt_ = take_receipt();
    }
    const bool is_empty = !engine && engine.error().code == Code::NotFound && engine.error().origin == Origin::Store;
    if (is_empty && reads_) return nothing_recorded();
    if (!engine) return std::unexpected(engine.error());
    engine_ = std::move(*engine);
    return {};
  }

  [[nodiscard]] Result<void> nothing_recorded() const {
    return fail(Code::NotFound,
                "nothing is recorded in " + paths_.state_dir.string() + " yet; record first: tapdeck run --session " +
                    options_.session + " -- COMMAND",
                Origin::Store);
  }

  [[nodiscard]] std::optional<store::MergeReceipt> take_receipt() const {
    auto receipt = store::MergeReceipt::place(pending_);
    if (receipt) return std::move(*receipt);
    log::warn("run.pending", receipt.error().message());
    return std::nullopt;
  }

  // What runs beside the owner left is taken in by the owner while it lives, else by whoever ends last. Who recorded
  // beside waits until it is done: what it says is recorded can be replayed next.
  void merge_pending() {
    if (pending_.empty()) return take_in_pending(paths_.store);
    const auto give_up = std::chrono::steady_clock::now() + kMergePatience;
    while (std::filesystem::exists(pending_)) {
      if (std::chrono::steady_clock::now() > give_up) {
        log::warn("run.pending", "what was recorded can be replayed when the owner of the store has taken it in",
                  {{"owner_pid", store::ExchangeStore::owner_of(paths_.store.string()).pid}, {"pending", pending_}});
        return;
      }
      take_in_pending(paths_.store);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  RunOptions options_;
  config::Config config_;
  Paths paths_;
  MetricsRegistry metrics_;
  std::unique_ptr<Engine> engine_;
  std::map<std::string, uint64_t> uncaptured_;
  std::map<std::string, uint64_t> refused_unlisted_;
  std::string pending_;  // the store beside the owner's; empty: this run owns it, or only reads
  std::optional<store::MergeReceipt> receipt_;
  bool reads_ = false;  // nothing may be recorded
  bool is_store_gone_ = false;
};

}  // namespace

Result<std::unique_ptr<RunServices>> make_run_services(const RunOptions& options) {
  TRY(config, config_for(options.config_file));
  for (const auto& path : options.upstream_ca) config.tls.upstream_ca.push_back(path);
  if (options.replay_refused == "refuse") config.proxy.replay_refused = config::ReplayRefused::Refuse;
  if (options.replay_refused == "answer") config.proxy.replay_refused = config::ReplayRefused::Answer;
  if (!config.log.format) config.log.level = std::max(config.log.level, config::LogLevel::Warn);
  configure_log(config.log, LogFor::Command);
  Paths paths = paths_of(config, options.state_dir);
  auto services = std::make_unique<InProcess>(options, std::move(config), std::move(paths));
  TRY_VOID(services->open());
  return std::unique_ptr<RunServices>(std::move(services));
}

}  // namespace tapdeck::app
