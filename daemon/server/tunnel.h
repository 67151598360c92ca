// Tunnel: a flow handed through as bytes: not HTTP, bypassed, or pinned. Both directions end on their own (half-close);
// the connection ends when both have, when either breaks, or when nothing moved for the idle timeout (tunnel_idle.h).
//
// Owner: the connection coroutine. Thread: its worker's.
#pragma once

#include "daemon/base/metrics.h"
#include "daemon/net/stream.h"

namespace tapdeck::server {

enum class Move { Splice, Copy };

struct TunnelOptions {
  Move move = Move::Splice;
  std::chrono::milliseconds idle_timeout{300000};
  bool client_has_ended = false;  // its end was read already: a socket tells of it once
};

// `early` are bytes the client already sent. Returns when both directions are over.
net::Task<> run_tunnel(net::Stream& client, net::Stream& origin, ByteQueue early, TunnelOptions options,
                       Metrics& metrics);

}  // namespace tapdeck::server
