#include "daemon/net/offload.h"

#include <asio/post.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace tapdeck::net {

Task<> run_elsewhere(asio::thread_pool& pool, std::move_only_function<void()> body) {
  const asio::any_io_executor home = co_await asio::this_coro::executor;
  co_await asio::async_initiate<decltype(asio::use_awaitable), void(std::exception_ptr)>(
      [&pool, home](auto handler, std::move_only_function<void()> work) {
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        asio::post(pool, [home, shared = std::move(shared), work = std::move(work)]() mutable {
          std::exception_ptr failure;
          try {
            work();
          } catch (...) {
            failure = std::current_exception();
          }
          // All of the handler goes home: the pool's thread must not be the last to let go of it.
          asio::post(home, [shared = std::move(shared), failure = std::move(failure)]() mutable {
            (*shared)(std::move(failure));
          });
        });
      },
      asio::use_awaitable, std::move(body));
}

}  // namespace tapdeck::net
