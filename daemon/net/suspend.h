// suspend(park): the calling task waits until somebody of its thread calls the function that `park` was given. For
// waits that every exchange makes: no timer, no trip through the loop; the call runs the task on before it returns.
//
// `park` keeps the function and returns what cancelling the task shall do: call it with a failure, but not at once
// (post it), and only if it was not called yet. A kept function that is destroyed uncalled ends its task.
#pragma once

#include <asio/associated_cancellation_slot.hpp>

#include <functional>
#include <utility>

#include "daemon/net/task.h"

namespace tapdeck::net {

template <class T>
using Resume = std::move_only_function<void(T)>;

template <class T, class Park>
Task<T> suspend(Park park) {
  auto initiate = [](auto handler, Park keep) {
    auto slot = asio::get_associated_cancellation_slot(handler);
    auto cancel = keep(Resume<T>(std::move(handler)));
    if (slot.is_connected()) slot.assign([cancel](asio::cancellation_type) { cancel(); });
  };
  return asio::async_initiate<const asio::use_awaitable_t<>, void(T)>(std::move(initiate), asio::use_awaitable,
                                                                      std::move(park));
}

}  // namespace tapdeck::net
