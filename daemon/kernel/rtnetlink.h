// rtnetlink: the routing part of the tc path: packets with the steering mark are delivered locally, whatever their
// destination. `ip rule fwmark M lookup T` and `ip route add local default dev lo table T`, both families, without a
// shell; and what has the next mark is refused, as ICMP tells its sender: `ip rule fwmark M+1 prohibit`. Acts on the
// calling thread's network namespace. Thread: any.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"

namespace tapdeck::kernel {

// Before all rules but `local` (0): those of VPNs (5270, 32765) and of container networks (512, 1536) would take marked
// packets elsewhere, and ours match nothing else.
inline constexpr uint32_t kRulePriority = 90;

struct Steering {
  uint32_t mark = 0;  // whole word is compared
  uint32_t table = 0;
};

// Errors: Permission (CAP_NET_ADMIN). What exists already is success. A host without IPv6 gets IPv4 only.
[[nodiscard]] Result<void> add_steering(const Steering& steering);
// Is everything of it there, and does nothing come before it? What was missing is added. Errors: those of
// add_steering(); then, and when overruled, marked packets are routed as others are.
enum class SteeringWas : uint8_t { Whole, Incomplete, Overruled };
[[nodiscard]] Result<SteeringWas> look_at_steering(const Steering& steering);
// No rule in the place of ours has another mark: whoever else steers in this namespace does it by the same rules.
[[nodiscard]] bool is_only_steering(const Steering& steering);
// What is gone already is success.
[[nodiscard]] Result<void> remove_steering(const Steering& steering);

// The address that a connection from here to `towards` would come from, without its port; empty: there is no route.
// Asked by netlink: a socket that tries it would show up where the process itself is captured.
[[nodiscard]] Endpoint route_source(const Endpoint& towards);

// Addresses of this namespace, ports 0, without loopback.
[[nodiscard]] Result<std::set<Endpoint>> host_addresses();

struct InterfaceFacts {
  int index = 0;
  uint32_t l2_length = 14;  // 0 for tun, wireguard and others without a link header
};
// NotFound; Unsupported for link types that are neither Ethernet nor bare IP.
[[nodiscard]] Result<InterfaceFacts> interface_facts(const std::string& name);
[[nodiscard]] bool loopback_is_up();

// Index of the bridge that this interface is a port of; 0: of none. NotFound: there is no such interface.
[[nodiscard]] Result<int> bridge_of(int ifindex);
// Does netfilter see what this bridge forwards and delivers (br_netfilter)? By the sysctls, or the bridge's own switch.
[[nodiscard]] bool bridge_calls_netfilter(int bridge_index);
[[nodiscard]] std::string interface_name(int ifindex);  // empty: there is none

// Has this interface a clsact (or ingress) qdisc? No such interface: no.
[[nodiscard]] Result<bool> has_clsact(int ifindex);
// How many tc filters sit on ingress and egress of this interface.
[[nodiscard]] Result<int> count_tc_filters(int ifindex);

}  // namespace tapdeck::kernel
