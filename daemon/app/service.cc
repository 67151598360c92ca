// The Service of `tapdeck serve`: an Engine, the target registry over it, and the defaults that the admin API changes.
#include "daemon/app/service.h"

#include <mutex>
#include <utility>

#include "daemon/app/engine.h"
#include "daemon/app/kept_mode.h"
#include "daemon/app/leftovers.h"
#include "daemon/app/targets.h"
#include "daemon/base/log.h"
#include "daemon/trust/bind.h"

namespace tapdeck::app {

namespace {

// Targets as the registry drives them: capture, and the tape each works with.
class Backend final : public TargetBackend {
 public:
  Backend(Engine& engine, const config::Config& config) : engine_(engine), config_(config) {}

  void set_defaults(const Defaults& defaults) {
    const std::scoped_lock lock(defaults_mutex_);
    defaults_ = defaults;
  }
  [[nodiscard]] Defaults defaults() const {
    const std::scoped_lock lock(defaults_mutex_);
    return defaults_;
  }

  Result<void> attach(uint32_t slot, const TargetSettings& settings, const ResolvedTarget& resolved, Why why) override {
    const std::scoped_lock lock(mutex_);
    const kernel::TargetPolicy policy = policy_of(settings);
    lacking_.erase(slot);
    // Connections that came in late of whoever had the slot before are not this target's.
    if (!attached_.contains(slot)) engine_.tapes().vacate(slot);
    Assignment wanted = assignment(settings);
    // A restart, ours or its own, is no new take: a sequence would be cut in two.
    if (why == Why::Kept) wanted.append = store::Append::Yes;
    if (auto assigned = engine_.tapes().assign(slot, wanted); !assigned) {
      if (why == Why::Asked || !kernel::is_closed(policy)) return assigned;
      engine_.tapes().assign_without_tape(slot, assignment(settings));
      lacking_[slot] = assigned.error().message();
      log::error("target.no_session", "captured without a session: its requests get 503 until there is one",
                 {{"target", slot}, {"name", settings.shown()}, {"problem", assigned.error().message()}});
    }
    engine_.refusals().forget(slot);  // of the session before
    auto captured = resolved.interface.empty() ? engine_.capture().attach_cgroup(slot, resolved.cgroup_path, policy)
                                               : engine_.capture().attach_interface(slot, resolved.interface, policy);
    if (!captured) {
      take_back(slot);
      return captured;
    }
    engine_.refusals().follow(slot, assignment(settings));
    attached_[slot] = settings;
    log::info("target.attached", "flows are captured",
              {{"target", slot}, {"name", settings.shown()}, {"where", resolved.display}});
    return {};
  }

  std::string lacking(uint32_t slot) override {
    const std::scoped_lock lock(mutex_);
    const auto found = lacking_.find(slot);
    return found == lacking_.end() ? std::string() : found->second;
  }

  std::string remark(uint32_t slot) override {
    for (const kernel::TargetStats& target : engine_.capture().stats().targets) {
      if (target.target == slot) return target.others;
    }
    return {};
  }

  bool is_closed(const TargetSettings& settings) override {
    const std::scoped_lock lock(mutex_);
    return kernel::is_closed(policy_of(settings));
  }

  void look_again(uint32_t slot) override { engine_.refusals().look_again(slot); }

  void keep_leftovers(bool keep) override { hold(keeps_leftovers_, keep); }
  // Until the targets have been looked for, it is not known either.
  void starting(bool is_starting) { hold(starting_, is_starting); }

  Result<void> update(uint32_t slot, const TargetSettings& settings) override {
    const std::scoped_lock lock(mutex_);
    Assignment wanted = assignment(settings);
    if (lacking_.contains(slot)) wanted.append = store::Append::Yes;  // what attach() could not do
    TRY_VOID(engine_.tapes().assign(slot, wanted));
    lacking_.erase(slot);
    engine_.cursors().rewind(static_cast<int>(slot));
    const auto known = attached_.find(slot);
    if (known == attached_.end()) return {};
    known->second = settings;
    engine_.refusals().follow(slot, assignment(settings));
    return engine_.capture().set_policy(slot, policy_of(settings));
  }

  Result<void> detach(uint32_t slot) override {
    const std::scoped_lock lock(mutex_);
    if (attached_.erase(slot) == 0) return {};
    engine_.refusals().forget(slot);
    auto detached = engine_.capture().detach(slot);
    lacking_.erase(slot);
    engine_.let_go(slot);
    if (!detached && detached.error().code == Code::NotFound) return {};
    return detached;
  }

  std::map<std::string, uint64_t> uncaptured(uint32_t slot) override {
    std::map<std::string, uint64_t> reasons;
    for (const kernel::TargetStats& target : engine_.capture().stats().targets) {
      if (target.target != slot) continue;
      for (size_t i = 0; i < kernel::kUncapturedReasons; ++i) {
        const auto reason = static_cast<kernel::Uncaptured>(i);
        if (target.uncaptured[i] > 0) reasons[std::string(kernel::to_string(reason))] = target.uncaptured[i];
      }
    }
    return reasons;
  }

  // New defaults: every target that names no mode or session of its own follows. NotFound (with the nearest name) when
  // one would replay a session that does not exist.
  Result<void> follow_defaults() {
    const std::scoped_lock lock(mutex_);
    for (const auto& [slot, settings] : attached_) {
      if (settings.mode && settings.session) continue;
      TRY_VOID(engine_.tapes().assign(slot, assignment(settings)));
      lacking_.erase(slot);
      engine_.cursors().rewind(static_cast<int>(slot));
      engine_.refusals().follow(slot, assignment(settings));
      TRY_VOID(engine_.capture().set_policy(slot, policy_of(settings)));
    }
    if (proxy_ && !(proxy_->mode && proxy_->session)) TRY_VOID(assign_proxy(*proxy_));
    return {};
  }

  // The clients of the explicit listener: a target with nothing to attach to.
  Result<void> set_proxy(const TargetSettings& settings) {
    const std::scoped_lock lock(mutex_);
    return assign_proxy(settings);
  }

  // At start. A replay of a session that is yet to be imported is no reason not to start; its clients are told.
  Result<void> open_proxy() {
    TargetSettings settings;
    settings.title = kProxyTarget;
    settings.spec.name = kProxyTarget;
    const std::scoped_lock lock(mutex_);
    auto opened = assign_proxy(settings, store::Append::Yes);
    if (opened || opened.error().code != Code::NotFound) return opened;
    log::warn("proxy.no_session", opened.error().message());
    engine_.tapes().assign_without_tape(kProxySlot, assignment(settings));
    proxy_ = settings;
    return {};
  }
  [[nodiscard]] const std::optional<TargetSettings>& proxy() const { return proxy_; }

  // Targets that fail open go direct at once; the others keep refusing after us.
  void release_open() {
    const std::scoped_lock lock(mutex_);
    for (const auto& [slot, settings] : attached_) {
      if (kernel::is_closed(policy_of(settings))) continue;
      auto detached = engine_.capture().detach(slot);
      if (!detached) log::warn("target.detach_failed", detached.error().message(), {{"target", slot}});
    }
    engine_.capture().keep_closed();
  }

 private:
  void hold(bool& reason, bool is_one) {
    const std::scoped_lock lock(hold_mutex_);
    reason = is_one;
    engine_.capture().hold_predecessor(starting_ || keeps_leftovers_);
  }

  // What an attached slot worked with before it was to be attached as something else, which failed.
  void take_back(uint32_t slot) {
    const auto before = attached_.find(slot);
    if (before == attached_.end()) return;
    Assignment wanted = assignment(before->second);
    wanted.append = store::Append::Yes;
    if (auto assigned = engine_.tapes().assign(slot, wanted); !assigned) {
      engine_.tapes().assign_without_tape(slot, wanted);
      lacking_[slot] = assigned.error().message();
    }
    engine_.refusals().follow(slot, wanted);
  }

  Result<void> assign_proxy(const TargetSettings& settings, store::Append append = store::Append::No) {
    Assignment wanted = assignment(settings);
    wanted.append = append;
    wanted.holder = kProxyTarget;
    TRY_VOID(engine_.tapes().assign(kProxySlot, wanted));
    engine_.cursors().rewind(static_cast<int>(kProxySlot));
    proxy_ = settings;
    return {};
  }

  [[nodiscard]] Mode mode_of(const TargetSettings& settings) const { return settings.mode.value_or(defaults().mode); }

  [[nodiscard]] Assignment assignment(const TargetSettings& settings) const {
    Assignment out;
    out.name = settings.shown();
    out.mode = mode_of(settings);
    out.session = settings.session.value_or(defaults().session);
    out.strict = settings.strict ? modes::Strict::Yes : modes::Strict::No;
    out.sealed = settings.sealed ? modes::Sealed::Yes : modes::Sealed::No;
    out.bypass = settings.bypass;
    out.holder = settings.spec.to_string();
    return out;
  }

  [[nodiscard]] kernel::TargetPolicy policy_of(const TargetSettings& settings) const {
    kernel::TargetPolicy policy;
    const bool closed = closes_on_lease(settings, config_.capture, mode_of(settings));
    policy.on_lease = closed ? kernel::OnLease::Closed : kernel::OnLease::Open;
    policy.sealed = settings.sealed ? kernel::Sealed::Yes : kernel::Sealed::No;
    return policy;
  }

  Engine& engine_;
  const config::Config& config_;
  mutable std::mutex defaults_mutex_;  // apart: who feeds the watchdog asks for them, and must not wait
  Defaults defaults_;
  std::mutex mutex_;  // the registry's thread, and who changes the defaults; all of the below
  std::map<uint32_t, TargetSettings> attached_;
  std::map<uint32_t, std::string> lacking_;  // attached without a tape: why
  std::optional<TargetSettings> proxy_;      // unset: no explicit listener
  std::mutex hold_mutex_;                    // the two below
  bool starting_ = false;
  bool keeps_leftovers_ = false;
};

class ServeService final : public Service {
 public:
  ServeService(const config::Config& config, Paths paths, MetricsRegistry& metrics, std::unique_ptr<Engine> engine)
      : config_(config),
        paths_(std::move(paths)),
        metrics_(metrics),
        engine_(std::move(engine)),
        backend_(*engine_, config_) {}

  ~ServeService() override { drain(std::chrono::milliseconds(0)); }

  Result<void> open() {
    clean_dead_runs(paths_.run_dir);
    ignore(trust::clean_leftovers(paths_.run_dir.string()),
           "of a daemon that was killed; what stays is named at the next start");
    TRY(mode, mode_at_start(paths_.mode, config_.proxy.mode));
    TRY(session, engine_->store().active_session());
    backend_.set_defaults({.mode = mode, .session = std::move(session)});
    TRY(ca, trust::parse_ca(engine_->ca().certificate_pem()));
    TargetRegistry::Options options;
    options.file = paths_.targets;
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
    backend_.starting(true);
    registry_->start();
    for (const config::Target& target : config_.targets) {
      auto attached = registry_->attach(settings_of(target), IfMissing::Wait);
      if (!attached) {
        attached.error().detail = "target '" + target.name + "': " + attached.error().detail;
        return std::unexpected(attached.error());
      }
    }
    backend_.starting(false);
    if (!config_.proxy.listen.empty()) {
      const std::scoped_lock lock(mutex_);
      TRY_VOID(backend_.open_proxy());
      TRY_VOID(engine_->listen_for_proxy_clients());
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
    if (!backend_.proxy()) return std::nullopt;
    TargetStatus status;
    status.id = kProxySlot;
    status.settings = *backend_.proxy();
    status.state = TargetStatus::State::Attached;
    status.display = "clients of " + config_.proxy.listen;
    status.captured = "proxy.listen " + config_.proxy.listen;
    return status;
  }

  Result<void> update_proxy_target(const std::function<void(TargetSettings&)>& change) override {
    const std::scoped_lock lock(mutex_);
    if (!backend_.proxy()) return fail(Code::NotFound, "proxy.listen is off");
    TargetSettings settings = *backend_.proxy();
    change(settings);
    return backend_.set_proxy(settings);
  }

  void rewind(std::optional<uint32_t> target) override {
    engine_->cursors().rewind(target ? static_cast<int>(*target) : modes::Cursors::kAll);
  }

  admin::Readiness readiness() override {
    admin::Readiness out;
    out.ready = started_;
    if (!started_) out.reason = drained_ ? "draining" : "starting";
    if (!out.ready) return out;
    const auto place = engine_->store().check_place();
    out.reason = place ? registry_->uncaptured_problem() : place.error().message();
    out.ready = out.reason.empty();
    return out;
  }

 private:
  const config::Config& config_;
  Paths paths_;
  MetricsRegistry& metrics_;
  std::unique_ptr<Engine> engine_;
  Backend backend_;
  std::unique_ptr<TargetRegistry> registry_;  // dies first: it calls the backend
  std::mutex mutex_;                          // changes of the backend's defaults
  std::atomic<bool> started_{false};
  std::atomic<bool> drained_{false};
};

}  // namespace

Result<std::unique_ptr<Service>> make_service(const config::Config& config, const Paths& paths,
                                              MetricsRegistry& metrics) {
  TRY(engine, Engine::create_owner(config, paths, metrics));
  auto service = std::make_unique<ServeService>(config, paths, metrics, std::move(engine));
  TRY_VOID(service->open());
  return std::unique_ptr<Service>(std::move(service));
}

}  // namespace tapdeck::app
