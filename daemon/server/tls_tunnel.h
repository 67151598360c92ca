// TlsTunnel: a flow that TLS carries and that is not HTTP, handed on between its two TLS connections: decrypted,
// counted, encrypted again; not kept. Each direction ends on its own, and as its sender ended it: by close_notify, or
// cut off without one. The whole ends when both have, when either breaks, or when nothing moved for the idle timeout
// (tunnel_idle.h).
//
// Owner: the connection coroutine. Thread: its worker's.
#pragma once

#include "daemon/server/tunnel.h"
#include "daemon/transport/transport.h"

namespace tapdeck::server {

// What either side said already.
struct EarlyBytes {
  ByteQueue of_client, of_origin;
};

// Both handshakes are done. Returns when both directions are over.
net::Task<> run_tls_tunnel(transport::Transport& client, transport::Transport& origin, EarlyBytes early,
                           TunnelOptions options, Metrics& metrics);

}  // namespace tapdeck::server
