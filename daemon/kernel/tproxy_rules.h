// tproxy_rules: what netfilter does in the namespace of one command: connections to wherever they go arrive at our
// listeners; what is neither TCP nor DNS is refused and counted. Addresses of this host itself, loopback above all, are
// the command's own first: a server of its own there is reached, and where nobody listens a connection is refused, as
// outside; only what is said to be there (set_places()) is ours. By libnftables (decision 28); nothing of the host's is
// touched. Acts on the calling thread's network namespace. Thread: one at a time.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"

namespace tapdeck::kernel {

// Where we listen, and the addresses of the host that the command believes to be on, without loopback; ports 0.
struct TproxyPlan {
  Endpoint v4, v6;  // v6 may be of family None
  std::set<Endpoint> host;
};

// Datagrams and packets refused.
struct RefusedPackets {
  uint64_t udp = 0, quic = 0, other = 0;
};

// The rules as nft(8) reads them.
[[nodiscard]] std::string tproxy_rules(const TproxyPlan& plan);
// Unsupported: the kernel has no nft_tproxy or nft_socket; Permission: CAP_NET_ADMIN is missing.
[[nodiscard]] Result<void> set_tproxy_rules(const TproxyPlan& plan);

// Which servers on addresses of this host a connection may be captured to, in place of those of the last call. The
// unspecified address is every one of its family.
[[nodiscard]] std::string place_commands(const std::set<Endpoint>& places);
[[nodiscard]] Result<void> set_places(const std::set<Endpoint>& places);

[[nodiscard]] Result<RefusedPackets> refused_packets();

}  // namespace tapdeck::kernel
