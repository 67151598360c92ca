// Task<T>: the coroutine type of the program, and the two awaits everything is built from.
//
// It is an Asio awaitable; folders that may not include Asio (exchange, modes) see it only through this header. A Task
// starts when awaited or spawned by a TaskGroup, never alone. Thread: the Worker that owns the io_context.
#pragma once

#include "daemon/net/frame_memory.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include "daemon/base/result.h"

namespace tapdeck::net {

template <class T = void>
using Task = asio::awaitable<T>;

// Completion token: no exceptions, `auto [ec, n] = co_await socket.async_x(..., kToken)`.
inline constexpr auto kToken = asio::experimental::as_tuple(asio::use_awaitable);

// False once the task was cancelled. A loop asks before it waits again: a cancellation that comes when a wait has
// already ended, but its task did not run on yet, is no error of that wait.
Task<bool> is_wanted();

// Runs on when everything that is ready by now has run: for work that gathers what others of this turn leave.
Task<> end_of_turn(const asio::any_io_executor& executor);

// A wake-up between coroutines of one thread. Not a condition with memory: the waiter checks its predicate first, the
// notifier changes it first. Several may wait. Cancelling the waiter's task ends the wait.
class Signal {
 public:
  explicit Signal(const asio::any_io_executor& executor);
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal();

  // Resumes after the next notify() or cancellation, whichever comes first; check the predicate again.
  Task<> wait();
  void notify() {
    if (waiting_ > 0) wake();
  }

 private:
  void wake();
  asio::steady_timer timer_;
  int waiting_ = 0;
};

}  // namespace tapdeck::net
