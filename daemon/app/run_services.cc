#include "daemon/app/leftovers.h"
#include "daemon/app/run_command.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <thread>
#include <utility>

#include "daemon/app/engine.h"
#include "daemon/app/pending_intake.h"
#include "daemon/app/serve.h"
#include "daemon/base/log.h"
#include "daemon/modes/select.h"

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

  ~InProcess() override {
    if (engine_ == nullptr) return;
    engine_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(paths_.capture_dir, ignored);
    if (!reads_) merge_pending();
  }

  Result<void> open() {
    TRY_VOID(open_engine());
    Assignment assignment;
    assignment.name = "run";
    assignment.mode = options_.mode;
    assignment.session = options_.session;
    assignment.sealed = options_.sealed ? modes::Sealed::Yes : modes::Sealed::No;
    assignment.append = options_.append ? store::Append::Yes : store::Append::No;
    return engine_->tapes().assign(kSlot, assignment);
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
    return engine_->capture().attach_cgroup(kSlot, cgroup_path, policy);
  }

  void drain(std::chrono::milliseconds deadline) override {
    uncaptured_ = uncaptured();
    auto detached = engine_->capture().detach(kSlot);
    if (!detached) log::warn("run.detach_failed", detached.error().message());
    engine_->drain(deadline);
  }

  RunSummary summary() override {
    RunSummary out;
    out.session = options_.session;
    out.mode = options_.mode;
    out.take = engine_->tapes().take_of(kSlot);
    const MetricsSnapshot snapshot = metrics_.snapshot();
    std::array<uint64_t, kOutcomeCount> outcomes{};
    for (size_t i = 0; i < snapshot.requests.size(); ++i) {
      outcomes[i / kCodeClasses % kOutcomeCount] += snapshot.requests[i];
    }
    // Failures and what broke off are on tape too, and replayed.
    for (const Counter kept : {Counter::RecordingComplete, Counter::RecordingFailed, Counter::RecordingIncomplete}) {
      out.recorded += snapshot.value(kept);
    }
    out.replayed = outcomes[static_cast<size_t>(Outcome::Replayed)];
    out.missed = outcomes[static_cast<size_t>(Outcome::Missed)];
    out.forwarded = outcomes[static_cast<size_t>(Outcome::Forwarded)];
    out.lost = snapshot.value(Counter::RecordingDropped);
    out.forwarded -= std::min(out.forwarded, out.lost);
    for (auto i = static_cast<size_t>(Counter::TunnelledBypass); i <= static_cast<size_t>(Counter::TunnelledConnect);
         ++i) {
      out.tunnelled += snapshot.counters[i];
    }
    out.uncaptured = uncaptured_;
    for (const kernel::Refusal& refusal : engine_->bridge().refusals()) {
      // A socket of another kind is refused as it is made, before it has a destination.
      const bool placed = refusal.destination.port != 0;
      out.refused.push_back({refusal.pid, std::string(refusal.comm.data()), protocol_name(refusal.protocol),
                             placed ? refusal.destination.to_string() : "", std::string()});
    }
    return out;
  }

 private:
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

  // Replay reads, whoever writes; recording owns the store, or writes beside its owner.
  Result<void> open_engine() {
    reads_ = options_.mode == Mode::Replay && !modes::may_record(options_.mode, config_.routes);
    clean_dead_runs(paths_.run_dir);
    paths_.admin_socket.clear();  // a run has none
    paths_.capture_dir = paths_.run_dir / (std::string(kRunCapturePrefix) + std::to_string(::getpid()));
    auto engine = Engine::create(config_, paths_, metrics_, reads_ ? StoreUse::Read : StoreUse::Own);
    if (!engine && engine.error().code == Code::Busy && engine.error().origin == Origin::Store && !reads_) {
      const bool answers = modes::may_answer_from_tape(options_.mode, config_.routes);
      engine = Engine::create(config_, paths_, metrics_, answers ? StoreUse::BesideAndRead : StoreUse::Beside);
      if (engine) pending_ = (*engine)->store().options().path;
    }
    if (!engine && reads_ && engine.error().code == Code::NotFound && engine.error().origin == Origin::Store) {
      engine.error().detail = "nothing is recorded in " + paths_.state_dir.string() +
                              " yet; record first: tapdeck run --session " + options_.session + " -- COMMAND";
    }
    if (!engine) return std::unexpected(engine.error());
    engine_ = std::move(*engine);
    return {};
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
  std::string pending_;
  bool reads_ = false;  // nothing may be recorded
};

}  // namespace

Result<std::unique_ptr<RunServices>> make_run_services(const RunOptions& options) {
  TRY(config, config_for(options.config_file));
  for (const auto& path : options.upstream_ca) config.tls.upstream_ca.push_back(path);
  if (!config.log.format) config.log.level = std::max(config.log.level, config::LogLevel::Warn);
  configure_log(config.log, LogFor::Command);
  Paths paths = paths_of(config, options.state_dir);
  auto services = std::make_unique<InProcess>(options, std::move(config), std::move(paths));
  TRY_VOID(services->open());
  return std::unique_ptr<RunServices>(std::move(services));
}

}  // namespace tapdeck::app
