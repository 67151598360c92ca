#include "daemon/net/task.h"

namespace tapdeck::net {

Task<bool> is_wanted() {
  const auto state = co_await asio::this_coro::cancellation_state;
  co_return state.cancelled() == asio::cancellation_type::none;
}

Task<> end_of_turn(const asio::any_io_executor& executor) {
  co_await asio::post(executor, asio::use_awaitable);
}

Signal::Signal(const asio::any_io_executor& executor) : timer_(executor, asio::steady_timer::time_point::max()) {}
Signal::~Signal() = default;

Task<> Signal::wait() {
  ++waiting_;
  auto [error] = co_await timer_.async_wait(kToken);
  ignore(error, "woken and cancelled are told apart by the caller's predicate");
  --waiting_;
}

void Signal::wake() {
  timer_.cancel();
}

}  // namespace tapdeck::net
