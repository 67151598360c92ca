// offload(pool, fn): runs a blocking function on another thread and resumes here with its result. For store reads and
// other slow calls; never on the hot path. The function must not touch what this thread owns.
#pragma once

#include <asio/thread_pool.hpp>

#include <memory>
#include <optional>
#include <utility>

#include "daemon/net/task.h"

namespace tapdeck::net {

template <class Function>
Task<std::invoke_result_t<Function>> offload(asio::thread_pool& pool, Function function) {
  using Value = std::invoke_result_t<Function>;
  const asio::any_io_executor home = co_await asio::this_coro::executor;
  auto result = co_await asio::async_initiate<decltype(asio::use_awaitable), void(std::optional<Value>)>(
      [&pool, home](auto handler, Function body) {
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        asio::post(pool, [home, shared = std::move(shared), body = std::move(body)]() mutable {
          std::optional<Value> value(body());
          // All of the handler goes home: the pool's thread must not be the last to let go of it.
          asio::post(home,
                     [shared = std::move(shared), value = std::move(value)]() mutable { (*shared)(std::move(value)); });
        });
      },
      asio::use_awaitable, std::move(function));
  co_return std::move(*result);
}

}  // namespace tapdeck::net
