#include "daemon/net/task_group.h"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <utility>

namespace tapdeck::net {

namespace {
constexpr size_t kSpares = 32;
}  // namespace

struct TaskGroup::Child {
  Id id = 0;
  asio::cancellation_signal stop;
};

TaskGroup::TaskGroup(const asio::any_io_executor& executor, std::function<void(std::exception_ptr)> on_exception)
    : executor_(executor), on_exception_(std::move(on_exception)), empty_(executor) {}

TaskGroup::~TaskGroup() {
  if (size_ == 0) return;
  // They would run on with references to what is gone, this group among it.
  std::fprintf(stderr, "tapdeck: a TaskGroup ended before its %zu task(s)\n", size_);
  std::abort();
}

namespace {

// Cancellation shows as Code::Cancelled of the pending operation, not as an exception out of the next await.
Task<> without_throwing(Task<> task) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await std::move(task);
}

}  // namespace

TaskGroup::Id TaskGroup::spawn(Task<> task) {
  ++size_;
  const Id id = next_id_++;
  if (spare_.empty()) spare_.push_back(std::make_unique<Child>());
  children_.splice(children_.end(), spare_, spare_.begin());
  const auto child = std::prev(children_.end());
  (*child)->id = id;
  asio::co_spawn(executor_, without_throwing(std::move(task)),
                 asio::bind_cancellation_slot((*child)->stop.slot(), [this, child](const std::exception_ptr& failure) {
                   finished(child, failure);
                 }));
  return id;
}

void TaskGroup::cancel(Id id) {
  for (const auto& child : children_) {
    if (child->id != id) continue;
    child->stop.emit(asio::cancellation_type::all);
    return;
  }
}

void TaskGroup::finished(Children::iterator child, const std::exception_ptr& failure) {
  // The signal's own slot is on the stack of this very call: it is used again, or freed, one loop turn later at the
  // earliest. Nothing below spawns at once.
  if (spare_.size() < kSpares) {
    spare_.splice(spare_.end(), children_, child);
  } else {
    asio::post(executor_, [dead = std::shared_ptr<Child>(std::move(*child))] {});
    children_.erase(child);
  }
  if (failure && on_exception_) on_exception_(failure);
  if (--size_ == 0) empty_.notify();
}

void TaskGroup::cancel() {
  for (auto child = children_.begin(); child != children_.end();) {
    const auto current = child++;  // emit() may finish and erase the current one
    (*current)->stop.emit(asio::cancellation_type::all);
  }
}

Task<> TaskGroup::join() {
  while (size_ > 0) co_await empty_.wait();
}

Task<> TaskGroup::join_or_cancel() {
  while (size_ > 0) {
    const bool wanted = co_await is_wanted();
    if (!wanted) cancel();
    if (size_ > 0) co_await empty_.wait();
  }
}

}  // namespace tapdeck::net
