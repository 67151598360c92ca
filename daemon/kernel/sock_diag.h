// sock_diag: lists TCP sockets; and which connections existed before a target was attached. They cannot be captured any
// more; they are counted so that nothing is silent. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <set>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

struct inet_diag_msg;

namespace tapdeck::kernel {

// A socket to ask about the calling thread's network namespace, wherever the thread is when it asks.
[[nodiscard]] Result<UniqueFd> open_sock_diag();
struct SocketFacts {
  uint64_t cgroup = 0;      // id; 0: not known
  bool is_v6_only = false;  // of one that listens
};
// Calls `each` for the TCP sockets of a family (AF_*) in `states` (bits 1 << TCP_*).
using EachSocket = std::function<void(const inet_diag_msg& socket, const SocketFacts& facts)>;
[[nodiscard]] Result<void> dump_tcp(int sock_diag, uint8_t family, uint32_t states, const EachSocket& each);
[[nodiscard]] Endpoint local_of(const inet_diag_msg& socket);  // v4-mapped: IPv4

// Ids of this cgroup and of all below.
[[nodiscard]] std::set<uint64_t> cgroup_ids_below(int cgroup_fd);

// In the calling thread's namespace: established or connecting outbound TCP connections of sockets that belong to one
// of `cgroup_ids`. Loopback is left out, and connections whose local port has a listener: those came from outside.
[[nodiscard]] Result<uint64_t> count_outbound_connections(const std::set<uint64_t>& cgroup_ids);

}  // namespace tapdeck::kernel
