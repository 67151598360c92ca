#include "daemon/net/deadline.h"

#include <utility>

namespace tapdeck::net {

// Shared with the pending timer handler, which outlives the Deadline by one loop turn.
struct Deadline::State {
  asio::steady_timer timer;
  std::function<void()> on_expired;
  Clock::time_point due = Clock::time_point::max();
  Clock::time_point armed_for = Clock::time_point::max();  // max = timer not running
  bool expired = false;
};

Deadline::Deadline(const asio::any_io_executor& executor, std::function<void()> on_expired)
    : state_(std::make_shared<State>(asio::steady_timer(executor), std::move(on_expired))) {}

Deadline::~Deadline() {
  state_->on_expired = nullptr;
  state_->timer.cancel();
}

bool Deadline::is_expired() const {
  return state_->expired;
}

void Deadline::arm(const std::shared_ptr<State>& state, Clock::time_point when) {
  state->armed_for = when;
  state->timer.expires_at(when);
  state->timer.async_wait([state](const std::error_code& error) {
    if (error) return;  // moved sooner or destroyed: a newer wait exists, or none is wanted
    state->armed_for = Clock::time_point::max();
    if (!state->on_expired || state->due == Clock::time_point::max()) return;
    if (Clock::now() < state->due) {
      arm(state, state->due);
      return;
    }
    state->expired = true;
    state->due = Clock::time_point::max();
    state->on_expired();
  });
}

void Deadline::set(Clock::duration after) {
  if (after <= Clock::duration::zero()) {
    clear();
    return;
  }
  state_->due = Clock::now() + after;
  if (state_->due < state_->armed_for) arm(state_, state_->due);
}

void Deadline::clear() {
  state_->due = Clock::time_point::max();
}

void Deadline::stop() {
  clear();
  state_->armed_for = Clock::time_point::max();
  state_->timer.cancel();
}

}  // namespace tapdeck::net
