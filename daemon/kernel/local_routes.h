// local_routes: a network namespace that has nothing but loopback, and yet answers for every address that the host can
// reach: `ip route add local PREFIX dev lo`. What the host cannot reach stays unreachable, so that clients with a
// choice of addresses choose as they would outside. Acts on the calling thread's network namespace. Thread: any.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"

namespace tapdeck::kernel {

struct Prefix {
  Endpoint address;    // port 0
  uint8_t length = 0;  // bits
  friend auto operator<=>(const Prefix&, const Prefix&) = default;
};

// Both families, whole.
[[nodiscard]] std::vector<Prefix> all_addresses();
// What the routes of this namespace lead to, its own addresses included, without loopback, link-local and multicast;
// of a family with a default route that alone. A table of more than a few thousand routes counts as all of its family.
[[nodiscard]] Result<std::vector<Prefix>> reachable_addresses();

// Source addresses of clients in such a namespace: the IPv4 dummy address (RFC 7600), and one set aside for benchmarks
// (RFC 5180), which counts as a global one where clients choose between families (RFC 6724).
[[nodiscard]] Endpoint local_source(Endpoint::Family family);

// Takes loopback up, gives it the source addresses, and makes `prefixes` local. A kernel without IPv6 gets IPv4 alone.
// Permission: without CAP_NET_ADMIN in the user namespace that this network namespace belongs to.
[[nodiscard]] Result<void> make_local(const std::vector<Prefix>& prefixes);
// This address as well, after that. What is there already is success.
[[nodiscard]] Result<void> make_address_local(const Endpoint& address);

}  // namespace tapdeck::kernel
