// rtnetlink: the routing part of the tc path: packets with the steering mark are delivered locally, whatever their
// destination. `ip rule fwmark M lookup T` and `ip route add local default dev lo table T`, both families, without a
// shell; and what has the next mark is refused, as ICMP tells its sender: `ip rule fwmark M+1 prohibit`. Acts on the
// calling thread's network namespace. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"

namespace tapdeck::kernel {

struct Steering {
  uint32_t mark = 0;  // whole word is compared
  uint32_t table = 0;
};

// Errors: Permission (CAP_NET_ADMIN). What exists already is success. A host without IPv6 gets IPv4 only.
[[nodiscard]] Result<void> add_steering(const Steering& steering);
// What is gone already is success.
[[nodiscard]] Result<void> remove_steering(const Steering& steering);

// The address that a connection from here to `towards` would come from, without its port; empty: there is no route.
// Asked by netlink: a socket that tries it would show up where the process itself is captured.
[[nodiscard]] Endpoint route_source(const Endpoint& towards);

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

// How many tc filters sit on ingress and egress of this interface.
[[nodiscard]] Result<int> count_tc_filters(int ifindex);

}  // namespace tapdeck::kernel
