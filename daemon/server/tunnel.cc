#include "daemon/server/tunnel.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <tuple>
#include <utility>
#include <vector>

#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"

namespace tapdeck::server {

namespace {

// As much as a default pipe holds.
constexpr size_t kPipeBytes = 65536;

// A pipe borrowed only while bytes are in it, so that idle tunnels cost no descriptors.
class Pipe {
 public:
  [[nodiscard]] bool open() {
    if (read_.is_open()) return true;
    int fds[2];
    if (!spare().empty()) {
      std::tie(read_, write_) = std::move(spare().back());
      spare().pop_back();
      return true;
    }
    if (::pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) return false;
    read_ = UniqueFd(fds[0]);
    write_ = UniqueFd(fds[1]);
    return true;
  }
  // Only when empty.
  void give_back() {
    if (read_.is_open() && spare().size() < 64) spare().emplace_back(std::move(read_), std::move(write_));
    read_.reset();
    write_.reset();
  }
  [[nodiscard]] int read_end() const { return read_.get(); }
  [[nodiscard]] int write_end() const { return write_.get(); }

 private:
  using Ends = std::pair<UniqueFd, UniqueFd>;
  static std::vector<Ends>& spare() {
    thread_local std::vector<Ends> pipes;
    return pipes;
  }
  UniqueFd read_, write_;
};

struct Direction {
  net::Stream& from;
  net::Stream& to;
  net::Deadline& idle;
  std::chrono::milliseconds idle_timeout;
  Metrics& metrics;
  Counter bytes;
};

net::Task<Result<void>> copy_all(Direction direction) {
  ByteQueue queue;
  while (true) {
    auto n = co_await direction.from.read_some(queue);
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) co_return Result<void>{};
    direction.idle.set(direction.idle_timeout);
    direction.metrics.add(direction.bytes, *n);
    auto written = co_await direction.to.write_all(queue);
    if (!written) co_return written;
  }
}

// Moves what is in the pipe to the socket.
net::Task<Result<void>> drain_pipe(Direction& direction, const Pipe& pipe, size_t bytes) {
  while (bytes > 0) {
    const ssize_t out = ::splice(pipe.read_end(), nullptr, direction.to.native_handle(), nullptr, bytes,
                                 SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (out > 0) {
      bytes -= static_cast<size_t>(out);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return fail_errno(errno, "splice to the socket");
    auto ready = co_await direction.to.wait_writable();
    if (!ready) co_return ready;
  }
  co_return Result<void>{};
}

net::Task<Result<void>> splice_all(Direction direction) {
  Pipe pipe;
  while (true) {
    if (!direction.from.is_open() || !direction.to.is_open()) co_return fail(Code::Cancelled, "the tunnel was closed");
    if (!pipe.open()) co_return co_await copy_all(direction);  // out of descriptors: slower, still right
    const ssize_t in = ::splice(direction.from.native_handle(), nullptr, pipe.write_end(), nullptr, kPipeBytes,
                                SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (in == 0) {
      pipe.give_back();
      co_return Result<void>{};
    }
    if (in < 0) {
      if (errno == EINTR) continue;
      if (errno == EINVAL || errno == ENOSYS) co_return co_await copy_all(direction);  // not a spliceable file
      if (errno != EAGAIN) co_return fail_errno(errno, "splice from the socket");
      pipe.give_back();
      auto ready = co_await direction.from.wait_readable();
      if (!ready) co_return ready;
      continue;
    }
    direction.idle.set(direction.idle_timeout);
    direction.metrics.add(direction.bytes, static_cast<uint64_t>(in));
    auto drained = co_await drain_pipe(direction, pipe, static_cast<size_t>(in));
    if (!drained) co_return drained;
  }
}

net::Task<> run_direction(Direction direction, Move move) {
  Result<void> result;
  if (move == Move::Splice) {
    result = co_await splice_all(direction);
  } else {
    result = co_await copy_all(direction);
  }
  if (result) {
    direction.to.shutdown_send();  // half-close: the other direction goes on
    co_return;
  }
  direction.from.abort();
  direction.to.abort();
}

}  // namespace

net::Task<> run_tunnel(net::Stream& client, net::Stream& origin, ByteQueue early, TunnelOptions options,
                       Metrics& metrics) {
  net::Deadline idle(client.executor(), [&] {
    metrics.add(Counter::LimitIdleTimeout);
    client.close();
    origin.close();
  });
  idle.set(options.idle_timeout);
  metrics.add(Counter::TunnelledBytesUp, early.size());
  auto sent = co_await origin.write_all(early);
  if (!sent) {
    client.abort();
    origin.abort();
    co_return;
  }
  net::TaskGroup group(client.executor());
  const Direction up{client, origin, idle, options.idle_timeout, metrics, Counter::TunnelledBytesUp};
  const Direction down{origin, client, idle, options.idle_timeout, metrics, Counter::TunnelledBytesDown};
  group.spawn(run_direction(up, options.move));
  group.spawn(run_direction(down, options.move));
  while (group.size() > 0) co_await group.join();
}

}  // namespace tapdeck::server
