// The Service of `tapdeck serve`: an Engine, the target registry over it, and the defaults that the admin API changes.
#include "daemon/app/service.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include "daemon/app/engine.h"
#include "daemon/app/kept_mode.h"
#include "daemon/app/leftovers.h"
#include "daemon/app/service_backend.h"
#include "daemon/app/targets.h"
#include "daemon/app/transfer_files.h"
#include "daemon/kernel/run_directory.h"
#include "daemon/trust/bind.h"

namespace tapdeck::app {

namespace {

class ServeService final : public Service {
 public:
  // `left`: by a daemon before, before the engine took it over.
  ServeService(const config::Config& config, Paths paths, MetricsRegistry& metrics, std::unique_ptr<Engine> engine,
               kernel::Aftermath left)
      : config_(config),
        paths_(std::move(paths)),
        metrics_(metrics),
        engine_(std::move(engine)),
        left_(left),
        backend_(*engine_, config_) {}

  ~ServeService() override { drain(std::chrono::milliseconds(0)); }

  Result<void> open() {
    clean_dead_runs(paths_.run_dir);
    remove_left_imports(paths_.state_dir);
    ignore(trust::clean_leftovers(paths_.run_dir.string()),
           "of a daemon that was killed; what stays is named at the next start");
    TRY(mode, mode_at_start(paths_.mode, config_.proxy.mode));
    TRY(session, engine_->store().active_session());
    backend_.set_defaults({.mode = mode, .session = std::move(session)});
    TRY(ca, trust::parse_ca(engine_->ca().certificate_pem()));
    TargetRegistry::Options options;
    options.file = paths_.targets;
    options.alive_file = paths_.run_dir / "alive";
    options.predecessor_refuses = left_ == kernel::Aftermath::Stands;
    options.on_gap = [this](const TargetSettings& settings, std::chrono::milliseconds length) {
      const TargetSlot label = metrics_.target_slot(settings.shown());
      gaps_.add(label, Counter::TargetGaps);
      gaps_.add(label, Counter::TargetGapMilliseconds, static_cast<uint64_t>(length.count()));
    };
    options.bind_trust = [run_dir = paths_.run_dir, ca](int pid) {
      trust::BindOptions bind;
      bind.run_dir = run_dir;
      bind.ca = ca;
      bind.environments = trust::Environments::Read;
      return trust::bind_into(pid, bind);
    };
    TRY(registry, TargetRegistry::open(std::move(options), backend_));
    registry_ = std::move(registry);
    engine_->bridge().set_on_change([this](uint32_t slot) { registry_->look_soon(slot); });
    return {};
  }

  AppControl::Parts parts() override {
    AppControl::Parts parts;
    parts.store = &engine_->store();
    parts.targets = registry_.get();
    parts.runtime = this;
    parts.metrics = &metrics_;
    parts.state_dir = paths_.state_dir;
    parts.targets_file = paths_.targets;
    parts.config = &config_;
    parts.mode_file = paths_.mode;
    return parts;
  }

  Result<void> start() override {
    TRY_VOID(engine_->listen_for_proxy_clients());  // a taken port must not leave anything captured
    backend_.starting();
    std::vector<TargetSettings> configured;
    for (const config::Target& target : config_.targets) configured.push_back(settings_of(target));
    TRY_VOID(registry_->start(configured));
    backend_.started();
    if (!config_.proxy.listen.empty()) {
      const std::scoped_lock lock(mutex_);
      TRY_VOID(backend_.open_proxy());
      registry_->look_soon(kProxySlot);  // for retry()
      TRY_VOID(engine_->serve_proxy_clients());
    }
    started_ = true;
    return {};
  }

  bool all_alive() override { return engine_->all_turned(); }

  void drain(std::chrono::milliseconds limit) override {
    if (drained_) return;
    drained_ = true;
    started_ = false;
    engine_->bridge().set_on_change({});
    if (registry_ != nullptr) registry_->stop();
    backend_.release_open();
    engine_->drain(limit);
  }

  std::string status_line() override {
    const Defaults now = defaults();
    return "mode " + std::string(to_string(now.mode)) + ", session " + now.session + ", " +
           std::to_string(engine_->store().stored_recordings()) + " recordings";
  }

  Defaults defaults() override { return backend_.defaults(); }

  Result<void> set_defaults(const Defaults& defaults) override {
    const std::scoped_lock lock(mutex_);
    const Defaults before = backend_.defaults();
    backend_.set_defaults(defaults);
    auto followed = backend_.follow_defaults();
    if (!followed) {
      backend_.set_defaults(before);
      ignore(backend_.follow_defaults(), "the first error is the one to tell");
    }
    registry_->defaults_changed();
    return followed;
  }

  std::optional<TargetStatus> proxy_target() override {
    const std::scoped_lock lock(mutex_);
    auto settings = backend_.proxy();
    if (!settings) return std::nullopt;
    TargetStatus status;
    status.id = kProxySlot;
    status.settings = std::move(*settings);
    status.state = TargetStatus::State::Attached;
    status.detail = backend_.lacking(kProxySlot);
    status.display = "clients of " + config_.proxy.listen;
    status.captured = "proxy.listen " + config_.proxy.listen;
    return status;
  }

  Result<void> update_proxy_target(const std::function<void(TargetSettings&)>& change) override {
    const std::scoped_lock lock(mutex_);
    auto settings = backend_.proxy();
    if (!settings) return fail(Code::NotFound, "proxy.listen is off");
    change(*settings);
    return backend_.set_proxy(*settings);
  }

  void rewind(std::optional<uint32_t> target) override {
    engine_->cursors().rewind(target ? static_cast<int>(*target) : modes::Cursors::kAll);
  }

  admin::Readiness readiness() override {
    admin::Readiness out;
    out.ready = started_;
    if (!started_) out.reason = drained_ ? "draining" : "starting";
    if (!out.ready) return out;
    const store::ExchangeStore& store = engine_->store();
    Result<void> fit = store.check_place();
    if (fit) fit = store.check_open();
    out.reason = fit ? registry_->uncaptured_problem() : fit.error().message();
    out.ready = out.reason.empty();
    return out;
  }

 private:
  const config::Config& config_;
  Paths paths_;
  MetricsRegistry& metrics_;
  Metrics& gaps_ = metrics_.create();  // the registry's, which counts one at a time
  std::unique_ptr<Engine> engine_;
  const kernel::Aftermath left_;
  ServiceBackend backend_;
  std::unique_ptr<TargetRegistry> registry_;  // dies first: it calls the backend
  std::mutex mutex_;                          // changes of the backend's defaults
  std::atomic<bool> started_{false};
  std::atomic<bool> drained_{false};
};

}  // namespace

Result<std::unique_ptr<Service>> make_service(const config::Config& config, const Paths& paths,
                                              MetricsRegistry& metrics) {
  const auto left = kernel::aftermath_of_the_dead(paths.run_dir.string());
  TRY(engine, Engine::create_owner(config, paths, metrics));
  auto service = std::make_unique<ServeService>(config, paths, metrics, std::move(engine), left);
  TRY_VOID(service->open());
  return std::unique_ptr<Service>(std::move(service));
}

}  // namespace tapdeck::app
