#include "daemon/server/listener.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "daemon/base/descriptors.h"
#include "daemon/base/log.h"

namespace tapdeck::server {

namespace {
// A batch; then other handlers get their turn before the rest is accepted.
constexpr int kAcceptBatch = 64;
constexpr std::chrono::milliseconds kRetryAfterLimit{100};

// The bound was near when a listener of this process, whichever, accepted last: what may not be kept is not accepted
// then, and waits where it is. Looking before that would be two system calls a connection for nothing.
std::atomic<bool> bound_is_near{false};

void note_accepted(int fd, int bound) {
  const bool is_near = fd >= bound - kAcceptBatch;
  if (bound_is_near.load(std::memory_order_relaxed) != is_near) bound_is_near = is_near;
}

// Whether what is opened next has a number below the bound; `open` is any that is open.
bool is_room_below(int bound, int open) {
  const UniqueFd next(::fcntl(open, F_DUPFD_CLOEXEC, 0));
  return next && next.get() < bound;
}

}  // namespace

Listener::Listener(const asio::any_io_executor& executor, UniqueFd fd, ListenerTag tag, Metrics& metrics,
                   OnAccept on_accept)
    : stream_(executor, std::move(fd), Origin::Downstream),
      tag_(tag),
      metrics_(metrics),
      on_accept_(std::move(on_accept)) {}

Listener::Accepted Listener::accept_waiting() {
  const auto [bound, last_bound] = descriptor_bounds();
  for (int i = 0; i < kAcceptBatch; ++i) {
    if (bound_is_near && !is_room_below(bound, stream_.native_handle())) return Accepted::OutOfDescriptors;
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    UniqueFd fd(
        ::accept4(stream_.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      note_accepted(fd.get(), bound);
      // Others were given the last ones below the bound, unseen. Who has come in stays, out of what is kept.
      const bool is_past = fd.get() >= bound;
      if (fd.get() >= last_bound) return Accepted::OutOfDescriptors;
      on_accept_(tag_, std::move(fd), Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&peer)));
      if (is_past) return Accepted::OutOfDescriptors;
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
    log::peer(log::Level::Error, "accept.descriptors",
              "out of file descriptors for clients: accepting pauses (raise LimitNOFILE)");
    pause.expires_after(kRetryAfterLimit);
    auto [error] = co_await pause.async_wait(net::kToken);
    const bool wanted = co_await net::is_wanted();
    if (error || !wanted) co_return;
  }
}

}  // namespace tapdeck::server
