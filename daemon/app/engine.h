// Engine: the composition of everything that captures, serves and stores, for `serve` and `run` alike. It wires in its
// constructor's order and takes apart in reverse; it decides nothing about targets, signals or output.
//
// Owner: Service or RunServices. Thread: the main one, but for what says otherwise.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "daemon/app/capture_bridge.h"
#include "daemon/app/heartbeat.h"
#include "daemon/app/kernel_counts.h"
#include "daemon/app/name_service.h"
#include "daemon/app/paths.h"
#include "daemon/app/pending_intake.h"
#include "daemon/app/refusals.h"
#include "daemon/app/tapes.h"
#include "daemon/base/unique_fd.h"
#include "daemon/config/config.h"
#include "daemon/kernel/capture.h"
#include "daemon/modes/cursors.h"
#include "daemon/server/worker.h"
#include "daemon/tls/ca.h"
#include "daemon/tls/client_context.h"
#include "daemon/tls/leaf_cache.h"
#include "daemon/tls/server_context.h"
#include "daemon/upstream/own_addresses.h"
#include "daemon/upstream/resolver.h"
#include "store/exchange_store.h"
#include "store/store_writer.h"

namespace tapdeck::app {

// How the store is used: the only writer; beside another writer, merged later (and perhaps answering with what that one
// has); or read only (replay).
enum class StoreUse { Own, Beside, BesideAndRead, Read };

// How it captures: by programs on cgroups and interfaces, or by a namespace that is handed to it.
enum class CaptureBy { Programs, Namespace };

// The slot of the explicit listener's clients: targets have the others.
inline constexpr uint32_t kProxySlot = 0;

class Engine final : public GaugeSource {
 public:
  // Opens CA, trust, store and capture, and starts workers and heartbeat. Nothing is captured yet. Errors name what is
  // missing and what to do. Without privileges an owner that nobody gave targets serves clients of proxy.listen alone
  // (kernel/no_capture.h). `config` and `metrics` outlive the Engine.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> create(const config::Config& config, const Paths& paths,
                                                              MetricsRegistry& metrics, StoreUse use,
                                                              CaptureBy by = CaptureBy::Programs);
  // With StoreUse::Own; the end of a `run` that has the store is waited for.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> create_owner(const config::Config& config, const Paths& paths,
                                                                    MetricsRegistry& metrics);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] kernel::Capture& capture() { return *capture_; }
  [[nodiscard]] CaptureBridge& bridge() { return bridge_; }
  [[nodiscard]] store::ExchangeStore& store() { return *store_; }
  [[nodiscard]] Tapes& tapes() { return *tapes_; }
  [[nodiscard]] Refusals& refusals() { return *refusals_; }
  [[nodiscard]] NameService& names() { return *names_; }
  [[nodiscard]] modes::Cursors& cursors() { return cursors_; }
  [[nodiscard]] const server::Misses& misses() const { return misses_; }
  [[nodiscard]] const server::Judgements& judgements() const { return judgements_; }
  [[nodiscard]] const tls::CertificateAuthority& ca() const { return *ca_; }
  // True when every worker's loop turned since the last call. One caller.
  [[nodiscard]] bool all_turned() { return heartbeat_->all_turned(); }

  // Takes the port of the explicit listener of the configuration; clients wait in its queue until they are served.
  // Nothing when there is none.
  Result<void> listen_for_proxy_clients();
  // Gives that listener to every worker. Its flows belong to slot kProxySlot, which must have been assigned.
  Result<void> serve_proxy_clients();

  // The target of `slot` was detached: what is open of it ends, or goes on as if it had never been captured.
  void let_go(uint32_t slot);
  // The mode of `slot` may be another: if it is replay, its tunnels to origins end.
  void reset_tunnels(uint32_t slot);
  // Open exchanges finish for at most `limit`, the rest is closed; then what was recorded is written. Detach what
  // should go direct before. Idempotent. Clients::Gone: no client lives, and who has ended its side is not answered.
  enum class Clients { MayRead, Gone };
  void drain(std::chrono::milliseconds limit, Clients clients = Clients::MayRead);

  void read(MetricsSnapshot& out) override;
  // All clients have been told to end (a `run` has, by Ctrl-C): what they leave from now on is no will of theirs.
  void interrupt() { interrupted_ = true; }
  // Recordings that reached the store.
  [[nodiscard]] uint64_t written() const { return writer_ == nullptr ? 0 : writer_->stats().recordings; }
  // So did something of an origin that no recording is about: that it spoke first, asked for client certificates, or
  // how its certificate failed.
  [[nodiscard]] bool has_noted() const { return writer_ != nullptr && writer_->stats().notes > 0; }

 private:
  Engine(const config::Config& config, MetricsRegistry& metrics) : config_(config), metrics_(metrics) {}
  Result<void> open_tls(const Paths& paths);
  Result<void> open_store(const Paths& paths, StoreUse use);
  Result<void> open_capture(const Paths& paths, unsigned workers, CaptureBy by);
  Result<void> use_capture(std::unique_ptr<kernel::Capture> capture);
  void start_workers(unsigned count);
  void open_names();

  // For whoever reads metrics: how those that were attached, and not detached again, are set.
  void tell_targets(const modes::RuntimeSnapshot& now, const kernel::Stats& stats, MetricsSnapshot& out) const;
  void renew_lease();
  void tell_lapse();

  const config::Config& config_;
  std::atomic<double> lease_deadline_{0};  // Unix time in seconds, as the next
  uint64_t lapsed_flows_ = 0;              // the heartbeat's: those of lapses that are in the log
  double config_loaded_ = 0;
  double started_ = 0;
  KernelCounts kernel_counts_;
  MetricsRegistry& metrics_;
  std::unique_ptr<tls::CertificateAuthority> ca_, untrusted_ca_;
  std::unique_ptr<tls::LeafCache> leaves_;
  std::unique_ptr<tls::ServerContext> server_tls_;
  std::unique_ptr<tls::UpstreamTrust> trust_;
  std::unique_ptr<store::ExchangeStore> store_;
  std::unique_ptr<store::StoreWriter> writer_;
  std::unique_ptr<PendingIntake> intake_;  // the owner's
  std::unique_ptr<store::Redactor> redactor_;
  modes::RuntimeState runtime_;
  modes::Cursors cursors_;
  server::Misses misses_;
  server::Judgements judgements_;
  std::unique_ptr<Tapes> tapes_;
  std::atomic<uint64_t> connections_{0};
  std::atomic<bool> interrupted_{false};
  CaptureBridge bridge_;
  std::vector<std::unique_ptr<server::Worker>> workers_;
  UniqueFd proxy_listener_;  // until clients are served
  upstream::OwnAddresses own_;
  std::unique_ptr<upstream::Resolver> resolver_;  // after the workers: it dies first, and posts to them until then
  std::unique_ptr<NameService> names_;            // stopped before the capture dies
  std::unique_ptr<kernel::Capture> capture_;      // after the workers: it dies first and hands out no more listeners
  std::unique_ptr<Refusals> refusals_;            // after the capture
  std::unique_ptr<Heartbeat> heartbeat_;
  StoreUse use_ = StoreUse::Own;
  bool drained_ = false;
};

}  // namespace tapdeck::app
