#include "daemon/kernel/local_routes.h"

#include <net/if.h>
#include <netinet/in.h>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "daemon/base/unique_fd.h"
#include "daemon/kernel/netlink_message.h"

namespace tapdeck::kernel {
namespace {

constexpr uint32_t kLoopbackIndex = 1;
constexpr size_t kMaxPrefixes = 4096;

size_t size_of(const Endpoint& address) {
  return address.family == Endpoint::Family::V6 ? sizeof(in6_addr) : sizeof(in_addr);
}

uint8_t netlink_family(const Endpoint& address) {
  return address.family == Endpoint::Family::V6 ? AF_INET6 : AF_INET;
}

Endpoint any_address(Endpoint::Family family) {
  Endpoint any;
  any.family = family;
  return any;
}

// Link-local addresses need their link, groups have their own ways.
bool is_of_no_use(const Endpoint& address) {
  const auto& bytes = address.address;
  if (address.is_loopback()) return true;
  if (address.family == Endpoint::Family::V4) return bytes[0] >= 224;
  return bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
}

void note_route(const nlmsghdr* answer, Endpoint::Family family, std::set<Prefix>& out) {
  if (answer->nlmsg_type != RTM_NEWROUTE) return;
  const auto* route = static_cast<const rtmsg*>(NLMSG_DATA(answer));
  const bool leads_somewhere = route->rtm_type == RTN_UNICAST || route->rtm_type == RTN_LOCAL;
  if (!leads_somewhere || (route->rtm_flags & RTM_F_CLONED) != 0) return;
  Prefix prefix{any_address(family), route->rtm_dst_len};
  auto left = static_cast<int>(RTM_PAYLOAD(answer));
  for (const rtattr* at = RTM_RTA(route); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    if (at->rta_type != RTA_DST || RTA_PAYLOAD(at) != size_of(prefix.address)) continue;
    std::memcpy(prefix.address.address.data(), RTA_DATA(at), size_of(prefix.address));
  }
  if (prefix.length == 0 || !is_of_no_use(prefix.address)) out.insert(prefix);
}

Result<std::set<Prefix>> routes_of(Endpoint::Family family) {
  NetlinkMessage message(RTM_GETROUTE, NLM_F_DUMP);
  rtmsg body{};
  body.rtm_family = netlink_family(any_address(family));
  message.body(body);
  std::set<Prefix> out;
  TRY_VOID(ask_netlink(message, "list routes", [&](const nlmsghdr* answer) {
    if (out.size() <= kMaxPrefixes) note_route(answer, family, out);
  }));
  const Prefix all{any_address(family), 0};
  if (out.contains(all) || out.size() > kMaxPrefixes) return std::set<Prefix>{all};
  return out;
}

Result<void> take_loopback_up() {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "socket", Origin::Kernel);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  if (::ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno(errno, "look at loopback", Origin::Kernel);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno(errno, "take loopback up", Origin::Kernel);
  return {};
}

Result<void> add_address(const Endpoint& address) {
  NetlinkMessage message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE);
  ifaddrmsg body{};
  body.ifa_family = netlink_family(address);
  body.ifa_prefixlen = static_cast<uint8_t>(8 * size_of(address));
  body.ifa_flags = IFA_F_NODAD;
  body.ifa_index = kLoopbackIndex;
  message.body(body);
  message.attribute(IFA_LOCAL, address.address.data(), size_of(address));
  message.attribute(IFA_ADDRESS, address.address.data(), size_of(address));
  return ask_netlink(message, "give loopback the address " + address.ip());
}

Result<void> add_route(const Prefix& prefix) {
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE);
  rtmsg route{};
  route.rtm_family = netlink_family(prefix.address);
  route.rtm_dst_len = prefix.length;
  route.rtm_table = RT_TABLE_LOCAL;
  route.rtm_protocol = RTPROT_STATIC;
  route.rtm_scope = RT_SCOPE_HOST;
  route.rtm_type = RTN_LOCAL;
  message.body(route);
  const Endpoint source = local_source(prefix.address.family);
  if (prefix.length > 0) message.attribute(RTA_DST, prefix.address.address.data(), size_of(prefix.address));
  message.attribute(RTA_PREFSRC, source.address.data(), size_of(source));
  message.attribute(RTA_OIF, kLoopbackIndex);
  return ask_netlink(message, "make " + prefix.address.ip() + "/" + std::to_string(prefix.length) + " local");
}

}  // namespace

std::vector<Prefix> all_addresses() {
  return {{any_address(Endpoint::Family::V4), 0}, {any_address(Endpoint::Family::V6), 0}};
}

Result<std::vector<Prefix>> reachable_addresses() {
  std::vector<Prefix> out;
  for (const auto family : {Endpoint::Family::V4, Endpoint::Family::V6}) {
    const auto found = routes_of(family);
    if (!found && family == Endpoint::Family::V4) return std::unexpected(found.error());
    if (found) out.insert(out.end(), found->begin(), found->end());
  }
  return out;
}

Endpoint local_source(Endpoint::Family family) {
  return *Endpoint::parse(family == Endpoint::Family::V6 ? "2001:2::1" : "192.0.0.8");
}

Result<void> make_local(const std::vector<Prefix>& prefixes) {
  TRY_VOID(take_loopback_up());
  TRY_VOID(add_address(local_source(Endpoint::Family::V4)));
  const bool has_v6 = add_address(local_source(Endpoint::Family::V6)).has_value();
  for (const Prefix& prefix : prefixes) {
    if (prefix.address.family == Endpoint::Family::V4 || has_v6) TRY_VOID(add_route(prefix));
  }
  return {};
}

Result<void> make_address_local(const Endpoint& address) {
  Prefix prefix{address, static_cast<uint8_t>(8 * size_of(address))};
  prefix.address.port = 0;
  const auto added = add_route(prefix);
  if (!added && added.error().sys_errno == EEXIST) return {};
  return added;
}

}  // namespace tapdeck::kernel
