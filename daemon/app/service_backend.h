// ServiceBackend: targets as the registry of `tapdeck serve` drives them: capture, refusals, and the tape each works
// with. The clients of the explicit listener are one more, with nothing to attach to.
//
// Not which targets there are, nor when they are looked for (targets.h). Owner: the Service. Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "daemon/app/control.h"
#include "daemon/app/engine.h"
#include "daemon/app/tapes.h"
#include "daemon/app/targets.h"

namespace tapdeck::app {

class ServiceBackend final : public TargetBackend {
 public:
  // Both outlive it.
  ServiceBackend(Engine& engine, const config::Config& config) : engine_(engine), config_(config) {}

  void set_defaults(const Defaults& defaults);
  [[nodiscard]] Defaults defaults() const;
  // New defaults: every target that names no mode or session of its own follows. NotFound (with the nearest name) when
  // one would replay a session that does not exist.
  Result<void> follow_defaults();

  Result<void> attach(uint32_t slot, const TargetSettings& settings, const ResolvedTarget& resolved, Why why) override;
  std::string lacking(uint32_t slot) override;
  std::string trouble(uint32_t slot) override { return stats_of(slot).trouble; }
  Gaps gaps(uint32_t slot) override;
  std::string remark(uint32_t slot) override { return stats_of(slot).others; }
  bool is_closed(const TargetSettings& settings) override;
  [[nodiscard]] bool retry() override;
  void look_again(uint32_t slot) override { engine_.refusals().look_again(slot); }
  void keep_leftovers(Keep keep) override { hold(while_unsure_, keep); }
  // Until the targets have been looked for, it is not known either.
  void starting() { hold(at_start_, Keep::Yes); }
  void started() { hold(at_start_, Keep::No); }
  Result<void> update(uint32_t slot, const TargetSettings& settings) override;
  Result<void> detach(uint32_t slot) override;
  std::map<std::string, uint64_t> uncaptured(uint32_t slot) override;
  // Targets that fail open go direct at once; the others keep refusing after us.
  void release_open();

  // At start. A replay of a session that is yet to be imported is no reason not to start: its clients are told, and
  // retry() takes it up when it is there.
  Result<void> open_proxy();
  Result<void> set_proxy(const TargetSettings& settings);
  [[nodiscard]] std::optional<TargetSettings> proxy();

 private:
  void hold(Keep& reason, Keep keep);
  // Nothing counted: it was never attached.
  [[nodiscard]] kernel::TargetStats stats_of(uint32_t slot) const;
  // What an attached slot worked with before it was to be attached as something else, which failed.
  void take_back(uint32_t slot);
  Result<void> assign_proxy(const TargetSettings& settings, store::Append append = store::Append::No);
  [[nodiscard]] Mode mode_of(const TargetSettings& settings) const { return settings.mode.value_or(defaults().mode); }
  [[nodiscard]] Assignment assignment(const TargetSettings& settings) const;
  [[nodiscard]] kernel::TargetPolicy policy_of(const TargetSettings& settings) const;

  Engine& engine_;
  const config::Config& config_;
  mutable std::mutex defaults_mutex_;  // apart: who feeds the watchdog asks for them, and must not wait
  Defaults defaults_;
  std::mutex mutex_;  // the registry's thread, and who changes the defaults; all of the below
  std::map<uint32_t, TargetSettings> attached_;
  std::map<uint32_t, std::string> lacking_;  // attached, or the proxy's slot, without a tape: why
  std::optional<TargetSettings> proxy_;      // unset: no explicit listener
  std::mutex hold_mutex_;                    // the two below
  Keep at_start_ = Keep::No;
  Keep while_unsure_ = Keep::No;
};

}  // namespace tapdeck::app
