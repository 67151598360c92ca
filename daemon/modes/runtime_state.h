// RuntimeState: what each target is doing now: its mode, session, tape and flags. Written by the admin thread and the
// target registry, read by every worker once an exchange.
//
// Not the target registry (app/targets.h, which persists) and not configuration. Readers keep a View, which costs one
// relaxed atomic load while nothing changes. Thread: update() any, one View a thread.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/base/metrics.h"
#include "daemon/base/result.h"
#include "daemon/base/vocabulary.h"
#include "daemon/config/bypass.h"
#include "daemon/modes/tape.h"

namespace tapdeck::modes {

enum class Strict : uint8_t { No, Yes };  // Yes: a response whose recording is lost is reset
enum class Sealed : uint8_t { No, Yes };

struct TargetState {
  std::string name;
  TargetSlot label = 0;  // in metrics
  uint64_t tenant = 0;   // grows when the slot's target is detached: flows of before are nobody's
  Mode mode = Mode::Record;
  std::string session = "default";
  std::shared_ptr<const Tape> tape;  // null: nothing is recorded or replayed (passthrough, or a failed open)
  Strict strict = Strict::No;
  Sealed sealed = Sealed::No;
  config::BypassRules bypass;
};

struct RuntimeSnapshot {
  std::array<TargetState, kTargetSlots> targets;
  uint64_t generation = 1;  // grows with every change; cursors and hot-cache entries belong to one
};

// The slot's target is detached: its flows are nobody's, whoever has the slot next.
void vacate(TargetState& state);

class RuntimeState {
 public:
  RuntimeState() : current_(std::make_shared<RuntimeSnapshot>()) {}

  // Applies `change` to a copy and publishes it with the next generation.
  void update(const std::function<void(RuntimeSnapshot&)>& change);
  [[nodiscard]] std::shared_ptr<const RuntimeSnapshot> load() const;
  [[nodiscard]] uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const RuntimeSnapshot> current_;
  std::atomic<uint64_t> generation_{1};
};

// A worker's cached copy. The reference is valid until the next call of get() on this view.
class RuntimeView {
 public:
  explicit RuntimeView(const RuntimeState& state) : state_(state), cached_(state.load()) {}
  [[nodiscard]] const RuntimeSnapshot& get() {
    if (state_.generation() != cached_->generation) cached_ = state_.load();
    return *cached_;
  }
  // The same, kept alive by the caller across waits.
  [[nodiscard]] std::shared_ptr<const RuntimeSnapshot> share() {
    ignore(get(), "refreshes the cache");
    return cached_;
  }

 private:
  const RuntimeState& state_;
  std::shared_ptr<const RuntimeSnapshot> cached_;
};

}  // namespace tapdeck::modes
