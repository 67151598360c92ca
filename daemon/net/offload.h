// offload(pool, fn): runs a blocking function on another thread and resumes here with its result. For store reads and
// other slow calls; never on the hot path. The function must not touch what this thread owns; what it throws is thrown
// here.
#pragma once

#include <asio/thread_pool.hpp>

#include <functional>
#include <optional>
#include <utility>

#include "daemon/net/task.h"

namespace tapdeck::net {

// Runs `body` on a thread of the pool and resumes here when it has returned.
Task<> run_elsewhere(asio::thread_pool& pool, std::move_only_function<void()> body);

template <class Function>
Task<std::invoke_result_t<Function>> offload(asio::thread_pool& pool, Function function) {
  // In this task's frame, which lives as long as its wait: the function may write there.
  std::optional<std::invoke_result_t<Function>> value;
  auto body = [&value, function = std::move(function)]() mutable { value.emplace(function()); };
  co_await run_elsewhere(pool, std::move(body));
  co_return std::move(*value);
}

}  // namespace tapdeck::net
