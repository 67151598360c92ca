#include "daemon/modes/store_link.h"

#include <iterator>
#include <utility>

#include "daemon/base/log.h"

namespace tapdeck::modes {

using Clock = std::chrono::steady_clock;

StoreLink::StoreLink(asio::any_io_executor executor, store::StoreWriter& writer, Metrics& metrics,
                     StoreLinkOptions options)
    : executor_(std::move(executor)), writer_(writer), metrics_(metrics), options_(options) {}

void StoreLink::close() {
  hand_over();
  writer_.flush();
}

void StoreLink::schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  // Runs behind every handler that is ready now: one hand-over a loop turn, however many exchanges finished in it.
  asio::post(executor_, [this] { hand_over(); });
}

void StoreLink::add(std::vector<store::PendingWrite>& writes) {
  std::move(writes.begin(), writes.end(), std::back_inserter(turn_));
  writes.clear();
  schedule();
}

void StoreLink::hand_over() {
  scheduled_ = false;
  if (turn_.empty()) return;
  const uint64_t token = batch_++;
  uint64_t bytes = 0;
  for (const store::PendingWrite& write : turn_) bytes += write.memory();
  auto taken = writer_.submit(turn_, this, token);
  if (taken) {
    handed_.push_back({token, bytes});
    in_flight_ += bytes;
    return;
  }
  ++refusals_;
  log::peer(log::Level::Error, "store.queue_full", "recordings are lost: the store does not keep up",
            {{"recordings", turn_.size()}});
  metrics_.add(Counter::IncompleteStoreSlow, turn_.size());
  turn_.clear();
  written(token, std::unexpected(taken.error()));
}

void StoreLink::written(uint64_t token, const Result<void>& result) {
  const std::scoped_lock lock(mutex_);
  answers_.push_back({token, result});
  if (posted_) return;
  posted_ = true;
  asio::post(executor_, [this] { take_answers(); });
}

void StoreLink::take_answers() {
  std::vector<Answer> answers;
  {
    const std::scoped_lock lock(mutex_);
    answers.swap(answers_);
    posted_ = false;
  }
  for (const Answer& answer : answers) {
    while (!handed_.empty() && handed_.front().token <= answer.token) {
      in_flight_ -= handed_.front().bytes;
      handed_.pop_front();
    }
    room_.notify();
    if (!answer.result) {
      metrics_.add(Counter::StoreErrorWrite);
      log::peer(log::Level::Error, "store.write_failed", "recordings are lost",
                {{"error", answer.result.error().message()}});
    }
    // Waiters sit in batch order.
    while (!waiters_.empty() && waiters_.front()->batch <= answer.token) {
      Waiter* waiter = waiters_.front();
      waiters_.pop_front();
      waiter->done = true;
      waiter->result = answer.result;
      waiter->timer.cancel();
    }
  }
}

net::Task<Result<void>> StoreLink::room() {
  const auto limit = Clock::now() + options_.hold_limit;
  asio::steady_timer timer(executor_, limit);
  timer.async_wait([this](const auto& error) {
    if (!error) room_.notify();
  });
  while (!has_room()) {
    if (Clock::now() >= limit) {
      metrics_.add(Counter::StoreHoldExceeded);
      co_return fail(Code::Timeout, "the store did not keep up within storage.hold_limit", Origin::Store);
    }
    co_await room_.wait();
    const auto stop = co_await asio::this_coro::cancellation_state;
    if (stop.cancelled() != asio::cancellation_type::none) {
      co_return fail(Code::Cancelled, "nobody waits for the recording any more", Origin::Internal);
    }
  }
  co_return Result<void>{};
}

net::Task<Result<void>> StoreLink::commit(std::vector<store::PendingWrite>& writes) {
  add(writes);
  if (options_.hold == Hold::No) co_return Result<void>{};
  Waiter waiter(executor_);
  waiter.batch = batch_;
  waiters_.push_back(&waiter);
  const auto began = Clock::now();
  waiter.timer.expires_after(options_.hold_limit);
  while (!waiter.done && Clock::now() - began < options_.hold_limit) {
    auto [error] = co_await waiter.timer.async_wait(net::kToken);
    if (error && !waiter.done) break;  // cancelled: the client left; the recording goes on without us
  }
  if (!waiter.done) {
    waiters_.remove(&waiter);
    if (Clock::now() - began < options_.hold_limit) {
      co_return fail(Code::Cancelled, "nobody waits for the recording any more", Origin::Internal);
    }
    metrics_.add(Counter::StoreHoldExceeded);
    co_return fail(Code::Timeout, "the store did not answer within storage.hold_limit", Origin::Store);
  }
  metrics_.observe(options_.commit_histogram, std::chrono::duration<double>(Clock::now() - began).count());
  co_return waiter.result;
}

}  // namespace tapdeck::modes
