// listener_plan: how many listeners a network namespace gets and on which ports. Pure arithmetic, no socket.
//
// A connection rewritten to a listener needs a source port that is unique for that listener, so one listener carries
// as many flows as the namespace has ephemeral ports. IPv4 spreads over addresses of 127/8, IPv6 has only ::1 and
// spreads over ports.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/kernel/netns.h"

namespace tapdeck::kernel {

// Flows one namespace can have open to us: 64k, and a quarter more, because ports in TIME_WAIT are not all reusable.
inline constexpr unsigned kFlowsPerNamespace = 80'000;

// Listeners per family: enough for kFlowsPerNamespace, a multiple of `workers` so that each gets the same share, at
// most `limit` (which wins over the multiple).
[[nodiscard]] unsigned listeners_wanted(PortRange range, unsigned workers, unsigned limit);

// Ports to try, best first: above the ephemeral range (nothing else uses those), else below it, else inside. Begins at
// a place given by `seed`, so that two instances rarely collide. Never empty.
[[nodiscard]] std::vector<uint16_t> candidate_ports(PortRange range, uint32_t seed);

// Address of IPv4 listener number `index`: 127.84.x.y, away from 127.0.0.x, which applications use.
[[nodiscard]] Endpoint listener_address4(unsigned index, uint16_t port);
[[nodiscard]] Endpoint listener_address6(uint16_t port);  // [::1]:port

}  // namespace tapdeck::kernel
