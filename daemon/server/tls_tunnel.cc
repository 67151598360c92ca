#include "daemon/server/tls_tunnel.h"

#include <utility>

#include "daemon/net/task_group.h"
#include "daemon/server/tunnel_idle.h"

namespace tapdeck::server {

namespace {

using transport::Transport;

struct TlsDirection {
  Transport& from;
  Transport& to;
  TunnelIdle& idle;
  Metrics& metrics;
  Counter bytes;
};

// Reads no more than what the other side has taken.
net::Task<Result<void>> pass_on(TlsDirection direction, ByteQueue plain) {
  direction.metrics.add(direction.bytes, plain.size());
  while (true) {
    if (!plain.empty()) {
      direction.idle.note();
      auto sent = co_await direction.to.flush(plain);
      if (!sent) co_return sent;
    }
    if (direction.from.ended_without_notice()) co_return Result<void>{};  // seen before: a socket tells of it once
    auto n = co_await direction.from.read_some(plain);
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) co_return Result<void>{};
    direction.metrics.add(direction.bytes, *n);
  }
}

net::Task<> run_tls_direction(TlsDirection direction, ByteQueue early) {
  auto passed = co_await pass_on(direction, std::move(early));
  if (!passed) {
    direction.from.abort();
    direction.to.abort();
  } else if (direction.from.ended_without_notice()) {
    direction.to.stream().shutdown_send();  // whether that was all there is, its reader has to judge
  } else {
    direction.to.end_output();
  }
}

}  // namespace

net::Task<> run_tls_tunnel(Transport& client, Transport& origin, EarlyBytes early, TunnelOptions options,
                           Metrics& metrics) {
  const asio::any_io_executor executor = client.stream().executor();
  TunnelIdle idle(client.stream(), origin.stream(), options.idle_timeout, metrics);
  net::TaskGroup group(executor);
  const TlsDirection up{client, origin, idle, metrics, Counter::TunnelledBytesUp};
  const TlsDirection down{origin, client, idle, metrics, Counter::TunnelledBytesDown};
  group.spawn(run_tls_direction(up, std::move(early.of_client)));
  group.spawn(run_tls_direction(down, std::move(early.of_origin)));
  co_await group.join_or_cancel();
}

}  // namespace tapdeck::server
