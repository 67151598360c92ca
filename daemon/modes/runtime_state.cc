#include "daemon/modes/runtime_state.h"

#include <utility>

namespace tapdeck::modes {

void vacate(TargetState& state) {
  TargetState vacated;
  vacated.label = state.label;
  vacated.tenant = state.tenant + 1;
  vacated.mode = Mode::Passthrough;
  state = std::move(vacated);
}

void RuntimeState::update(const std::function<void(RuntimeSnapshot&)>& change) {
  const std::scoped_lock lock(mutex_);
  auto next = std::make_shared<RuntimeSnapshot>(*current_);
  change(*next);
  next->generation = current_->generation + 1;
  current_ = std::move(next);
  generation_.store(current_->generation, std::memory_order_release);
}

std::shared_ptr<const RuntimeSnapshot> RuntimeState::load() const {
  const std::scoped_lock lock(mutex_);
  return current_;
}

}  // namespace tapdeck::modes
