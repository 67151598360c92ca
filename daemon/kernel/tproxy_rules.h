// tproxy_rules: what netfilter does in the namespace of one command: connections to wherever they go arrive at our
// listeners, those to servers of the command's own on loopback do not, and what is neither TCP nor DNS is refused and
// counted. By libnftables (decision 28); nothing of the host's is touched. Acts on the calling thread's network
// namespace. Thread: one at a time.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"

namespace tapdeck::kernel {

// Datagrams and packets refused.
struct RefusedPackets {
  uint64_t udp = 0, quic = 0, other = 0;
};

// The rules as nft(8) reads them. `v6` may be of family None.
[[nodiscard]] std::string tproxy_rules(const Endpoint& v4, const Endpoint& v6);
// Unsupported: the kernel has no nft_tproxy or nft_socket; Permission: CAP_NET_ADMIN is missing.
[[nodiscard]] Result<void> set_tproxy_rules(const Endpoint& v4, const Endpoint& v6);
[[nodiscard]] Result<RefusedPackets> refused_packets();

}  // namespace tapdeck::kernel
