#include "daemon/server/listener.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "daemon/base/log.h"

namespace tapdeck::server {

namespace {
// A batch; then other handlers get their turn before the rest is accepted.
constexpr int kAcceptBatch = 64;
constexpr std::chrono::milliseconds kRetryAfterLimit{100};
}  // namespace

Listener::Listener(const asio::any_io_executor& executor, UniqueFd fd, ListenerTag tag, Metrics& metrics,
                   OnAccept on_accept)
    : stream_(executor, std::move(fd), Origin::Downstream),
      tag_(tag),
      metrics_(metrics),
      on_accept_(std::move(on_accept)) {}

Listener::Accepted Listener::accept_waiting() {
  for (int i = 0; i < kAcceptBatch; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    UniqueFd fd(
        ::accept4(stream_.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      on_accept_(tag_, std::move(fd), Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&peer)));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return Accepted::OutOfDescriptors;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Accepted::All;
    // ECONNABORTED and the like concern one connection only.
  }
  return Accepted::Some;
}

void Listener::finish() {
  // No more than a queue can hold: whoever connects all the time would keep it open.
  for (int i = 0; i < SOMAXCONN / kAcceptBatch && stream_.is_open(); ++i) {
    if (accept_waiting() != Accepted::Some) break;
  }
  stream_.close();
}

net::Task<> Listener::run() {
  asio::steady_timer pause(stream_.executor());
  while (stream_.is_open()) {
    auto ready = co_await stream_.wait_readable();
    if (!ready || !stream_.is_open()) co_return;
    if (accept_waiting() != Accepted::OutOfDescriptors) continue;
    metrics_.add(Counter::LimitDescriptors);
    log::peer(log::Level::Error, "accept.descriptors", "out of file descriptors: accepting pauses (raise LimitNOFILE)");
    pause.expires_after(kRetryAfterLimit);
    auto [error] = co_await pause.async_wait(net::kToken);
    const bool wanted = co_await net::is_wanted();
    if (error || !wanted) co_return;
  }
}

}  // namespace tapdeck::server
