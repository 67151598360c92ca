#include "daemon/modes/pace.h"

namespace tapdeck::modes {

using exchange::Clock;

net::Task<Result<void>> Sleeper::until(Clock::time_point moment) {
  asio::steady_timer timer(co_await asio::this_coro::executor, moment);
  auto [error] = co_await timer.async_wait(net::kToken);
  const bool wanted = co_await net::is_wanted();
  if (error || !wanted) co_return fail(Code::Cancelled, "the replay was given up between two pieces", Origin::Internal);
  co_return Result<void>{};
}

net::Task<Result<void>> Pacer::reach(exchange::Exchange& exchange, uint64_t microseconds) {
  if (gate_ != nullptr) CO_TRY_VOID(co_await gate_->reach(exchange, microseconds));
  if (factor_ <= 0) co_return Result<void>{};
  const std::chrono::duration<double, std::micro> after(static_cast<double>(microseconds) / factor_);
  const auto moment = began_ + std::chrono::duration_cast<Clock::duration>(after);
  if (moment <= sleeper_.now()) co_return Result<void>{};
  auto flushed = co_await exchange.flush();  // what was written before belongs to the client now
  if (!flushed) co_return flushed;
  co_return co_await sleeper_.until(moment);
}

net::Task<Result<void>> Pacer::reach_end(exchange::Exchange& exchange, uint64_t microseconds) {
  CO_TRY_VOID(co_await reach(exchange, microseconds));
  if (gate_ == nullptr) co_return Result<void>{};
  co_return co_await gate_->reach_end(exchange);
}

double pace_of(const config::Route* route) {
  return route != nullptr && route->streaming ? config::pace_factor(route->streaming->pace) : 0;
}

}  // namespace tapdeck::modes
