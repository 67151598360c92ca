#include "daemon/kernel/rtnetlink.h"

// glibc's header must come before the kernel's if_arp.h, which then leaves out what both define.
#include <net/if.h>

#include <netinet/in.h>

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>

#include "daemon/base/unique_fd.h"
#include "daemon/kernel/netlink_message.h"

namespace tapdeck::kernel {
namespace {

constexpr uint32_t kLoopbackIndex = 1;

Result<void> change(NetlinkMessage& message, const std::string& what, int harmless) {
  auto done = ask_netlink(message, what);
  if (!done && done.error().sys_errno == harmless) return {};
  return done;
}

NetlinkMessage rule_message(uint16_t type, uint16_t flags, uint8_t family, uint8_t action, uint32_t mark) {
  NetlinkMessage message(type, flags);
  fib_rule_hdr rule{};
  rule.family = family;
  rule.action = action;
  message.body(rule);
  // Removed whatever its number: an older version had another.
  if (type == RTM_NEWRULE) message.attribute(FRA_PRIORITY, kRulePriority);
  message.attribute(FRA_FWMARK, mark);
  message.attribute(FRA_FWMASK, 0xffffffff);
  return message;
}

NetlinkMessage steer_rule(uint16_t type, uint16_t flags, uint8_t family, const Steering& steering) {
  auto message = rule_message(type, flags, family, FR_ACT_TO_TBL, steering.mark);
  message.attribute(FRA_TABLE, steering.table);
  return message;
}

NetlinkMessage refuse_rule(uint16_t type, uint16_t flags, uint8_t family, const Steering& steering) {
  return rule_message(type, flags, family, FR_ACT_PROHIBIT, steering.mark + 1);
}

NetlinkMessage route_message(uint16_t type, uint16_t flags, uint8_t family, const Steering& steering) {
  NetlinkMessage message(type, flags);
  rtmsg route{};
  route.rtm_family = family;
  route.rtm_table = RT_TABLE_UNSPEC;
  route.rtm_protocol = RTPROT_STATIC;
  route.rtm_scope = RT_SCOPE_HOST;
  route.rtm_type = RTN_LOCAL;
  message.body(route);
  message.attribute(RTA_TABLE, steering.table);
  message.attribute(RTA_OIF, kLoopbackIndex);
  return message;
}

Result<void> add_family(uint8_t family, const Steering& steering) {
  constexpr uint16_t kCreate = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  auto route = route_message(RTM_NEWROUTE, kCreate, family, steering);
  TRY_VOID(change(route, "add local route of the tc path (needs CAP_NET_ADMIN)", EEXIST));
  const char* const what = "add fwmark rule of the tc path (needs CAP_NET_ADMIN)";
  auto steer = steer_rule(RTM_NEWRULE, kCreate, family, steering);
  TRY_VOID(change(steer, what, EEXIST));
  auto refuse = refuse_rule(RTM_NEWRULE, kCreate, family, steering);
  return change(refuse, what, EEXIST);
}

// IPv6 absent or switched off: there is nothing to steer.
bool is_absent(const Error& error) {
  return error.sys_errno == EAFNOSUPPORT || error.sys_errno == EOPNOTSUPP || error.sys_errno == EACCES;
}

// How a packet with this mark is routed: an RTN_ type, or minus the errno. The destination is one of those set aside
// for documentation, of which no rule speaks.
int route_type(uint8_t family, uint32_t mark) {
  const Endpoint to = Endpoint::parse(family == AF_INET6 ? "2001:db8::1" : "192.0.2.1").value_or(Endpoint{});
  const size_t size = family == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr);
  NetlinkMessage message(RTM_GETROUTE, NLM_F_ACK);
  rtmsg route{};
  route.rtm_family = family;
  route.rtm_dst_len = static_cast<unsigned char>(8 * size);
  message.body(route);
  message.attribute(RTA_DST, to.address.data(), size);
  message.attribute(RTA_MARK, mark);
  int type = RTN_UNSPEC;
  const auto asked = ask_netlink(message, "look up a route", [&](const nlmsghdr* answer) {
    if (answer->nlmsg_type == RTM_NEWROUTE) type = static_cast<const rtmsg*>(NLMSG_DATA(answer))->rtm_type;
  });
  return asked ? type : -asked.error().sys_errno;
}

bool is_steered(uint8_t family, const Steering& steering) {
  const int refused = route_type(family, steering.mark + 1);
  return route_type(family, steering.mark) == RTN_LOCAL && (refused == RTN_PROHIBIT || refused == -EACCES);
}

}  // namespace

Endpoint route_source(const Endpoint& towards) {
  sockaddr_storage raw{};
  ignore(towards.to_sockaddr(raw), "the family says how long it is");
  const bool v6 = towards.family == Endpoint::Family::V6;
  const void* const address = v6 ? static_cast<const void*>(&reinterpret_cast<sockaddr_in6*>(&raw)->sin6_addr)
                                 : static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(&raw)->sin_addr);
  const size_t size = v6 ? sizeof(in6_addr) : sizeof(in_addr);
  NetlinkMessage message(RTM_GETROUTE, NLM_F_ACK);
  rtmsg route{};
  route.rtm_family = v6 ? AF_INET6 : AF_INET;
  route.rtm_dst_len = static_cast<unsigned char>(8 * size);
  message.body(route);
  message.attribute(RTA_DST, address, size);
  Endpoint source;
  auto asked = ask_netlink(message, "look up a route", [&](const nlmsghdr* answer) {
    if (answer->nlmsg_type != RTM_NEWROUTE) return;
    const auto* found = static_cast<const rtmsg*>(NLMSG_DATA(answer));
    auto left = static_cast<int>(RTM_PAYLOAD(answer));
    for (const rtattr* at = RTM_RTA(found); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
      if (at->rta_type != RTA_PREFSRC || RTA_PAYLOAD(at) != size) continue;
      sockaddr_storage from{};
      from.ss_family = route.rtm_family;
      void* const into = v6 ? static_cast<void*>(&reinterpret_cast<sockaddr_in6*>(&from)->sin6_addr)
                            : static_cast<void*>(&reinterpret_cast<sockaddr_in*>(&from)->sin_addr);
      std::memcpy(into, RTA_DATA(at), size);
      source = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&from));
    }
  });
  ignore(asked, "no route, no source");
  return source;
}

Result<void> add_steering(const Steering& steering) {
  TRY_VOID(add_family(AF_INET, steering));
  auto v6 = add_family(AF_INET6, steering);
  if (!v6 && is_absent(v6.error())) return {};
  return v6;
}

Result<SteeringWas> look_at_steering(const Steering& steering) {
  SteeringWas was = SteeringWas::Whole;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    if (is_steered(family, steering)) continue;
    const auto added = add_family(family, steering);
    if (!added && family == AF_INET6 && is_absent(added.error())) continue;
    if (!added) return std::unexpected(added.error());
    if (!is_steered(family, steering)) return SteeringWas::Overruled;
    was = SteeringWas::Incomplete;
  }
  return was;
}

bool is_only_steering(const Steering& steering) {
  NetlinkMessage message(RTM_GETRULE, NLM_F_DUMP);
  fib_rule_hdr body{};
  body.family = AF_INET;
  message.body(body);
  bool others = false;
  const auto asked = ask_netlink(message, "list rules", [&](const nlmsghdr* answer) {
    if (answer->nlmsg_type != RTM_NEWRULE) return;
    const auto* found = static_cast<const fib_rule_hdr*>(NLMSG_DATA(answer));
    uint32_t priority = 0, mark = 0;
    auto left = static_cast<int>(RTM_PAYLOAD(answer));
    for (const rtattr* at = reinterpret_cast<const rtattr*>(found + 1); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
      if (at->rta_type == FRA_PRIORITY) std::memcpy(&priority, RTA_DATA(at), sizeof(priority));
      if (at->rta_type == FRA_FWMARK) std::memcpy(&mark, RTA_DATA(at), sizeof(mark));
    }
    others = others || (priority == kRulePriority && mark != steering.mark && mark != steering.mark + 1);
  });
  return asked && !others;
}

Result<void> remove_steering(const Steering& steering) {
  Result<void> result;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    for (const auto& of : {steer_rule, refuse_rule}) {
      auto rule = of(RTM_DELRULE, NLM_F_ACK, family, steering);
      if (auto gone = change(rule, "remove fwmark rule", ENOENT); !gone && family == AF_INET) result = gone;
    }
    auto route = route_message(RTM_DELROUTE, NLM_F_ACK, family, steering);
    if (auto gone = change(route, "remove local route", ESRCH); !gone && family == AF_INET) result = gone;
  }
  return result;
}

Result<std::set<Endpoint>> host_addresses() {
  NetlinkMessage message(RTM_GETADDR, NLM_F_DUMP);
  ifaddrmsg body{};
  message.body(body);
  std::set<Endpoint> out;
  TRY_VOID(ask_netlink(message, "list addresses", [&](const nlmsghdr* answer) {
    if (answer->nlmsg_type != RTM_NEWADDR) return;
    const auto* found = static_cast<const ifaddrmsg*>(NLMSG_DATA(answer));
    Endpoint one;
    one.family = found->ifa_family == AF_INET6 ? Endpoint::Family::V6 : Endpoint::Family::V4;
    const size_t size = found->ifa_family == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr);
    auto left = static_cast<int>(IFA_PAYLOAD(answer));
    bool is_local = false;  // IFA_ADDRESS is the peer's, where there is an IFA_LOCAL
    for (const rtattr* at = IFA_RTA(found); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
      if (at->rta_type != IFA_LOCAL && (at->rta_type != IFA_ADDRESS || is_local)) continue;
      if (RTA_PAYLOAD(at) != size) continue;
      is_local = is_local || at->rta_type == IFA_LOCAL;
      std::memcpy(one.address.data(), RTA_DATA(at), size);
    }
    if (!one.is_loopback() && !one.is_unspecified()) out.insert(one);
  }));
  return out;
}

Result<InterfaceFacts> interface_facts(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof(request.ifr_name)) {
    return fail(Code::InvalidArgument, "'" + name + "' is not an interface name");
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "socket", Origin::Kernel);
  InterfaceFacts facts;
  if (::ioctl(fd.get(), SIOCGIFINDEX, &request) != 0) return fail_errno(errno, "interface " + name, Origin::Kernel);
  facts.index = request.ifr_ifindex;
  if (::ioctl(fd.get(), SIOCGIFHWADDR, &request) != 0) return fail_errno(errno, "interface " + name, Origin::Kernel);
  const int type = request.ifr_hwaddr.sa_family;
  if (type != ARPHRD_ETHER && type != ARPHRD_NONE) {
    return fail(Code::Unsupported, "interface " + name + " is neither Ethernet nor bare IP (loopback cannot be tapped)",
                Origin::Kernel);
  }
  facts.l2_length = type == ARPHRD_ETHER ? 14 : 0;
  return facts;
}

namespace {

// Calls each(attribute) for those of a link, down into IFLA_LINKINFO and its data.
void walk(const rtattr* at, int left, const std::function<void(const rtattr*)>& each) {
  for (; RTA_OK(at, left); at = RTA_NEXT(at, left)) each(at);
}

Result<void> ask_link(int ifindex, const std::function<void(const rtattr*)>& each) {
  NetlinkMessage message(RTM_GETLINK, NLM_F_ACK);
  ifinfomsg body{};
  body.ifi_index = ifindex;
  message.body(body);
  return ask_netlink(message, "interface " + std::to_string(ifindex), [&](const nlmsghdr* h) {
    if (h->nlmsg_type != RTM_NEWLINK) return;
    const auto* link = static_cast<const ifinfomsg*>(NLMSG_DATA(h));
    walk(IFLA_RTA(link), static_cast<int>(IFLA_PAYLOAD(h)), each);
  });
}

void walk_nested(const rtattr* at, const std::function<void(const rtattr*)>& each) {
  walk(static_cast<const rtattr*>(RTA_DATA(at)), static_cast<int>(RTA_PAYLOAD(at)), each);
}

bool sysctl_is_on(const char* path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path, "re"), &std::fclose);
  return file && std::fgetc(file.get()) == '1';
}

}  // namespace

Result<int> bridge_of(int ifindex) {
  int master = 0;
  bool is_port = false;
  TRY_VOID(ask_link(ifindex, [&](const rtattr* at) {
    if (at->rta_type == IFLA_MASTER) std::memcpy(&master, RTA_DATA(at), sizeof(master));
    if (at->rta_type != IFLA_LINKINFO) return;
    walk_nested(at, [&](const rtattr* info) {
      if (info->rta_type == IFLA_INFO_SLAVE_KIND)
        is_port = std::strcmp(static_cast<char*>(RTA_DATA(info)), "bridge") == 0;
    });
  }));
  return is_port ? master : 0;
}

bool bridge_calls_netfilter(int bridge_index) {
  if (sysctl_is_on("/proc/sys/net/bridge/bridge-nf-call-iptables") ||
      sysctl_is_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables")) {
    return true;
  }
  bool own_switch = false;
  const auto asked = ask_link(bridge_index, [&](const rtattr* at) {
    if (at->rta_type != IFLA_LINKINFO) return;
    walk_nested(at, [&](const rtattr* info) {
      if (info->rta_type != IFLA_INFO_DATA) return;
      walk_nested(info, [&](const rtattr* data) {
        if (data->rta_type != IFLA_BR_NF_CALL_IPTABLES && data->rta_type != IFLA_BR_NF_CALL_IP6TABLES) return;
        own_switch = own_switch || *static_cast<const uint8_t*>(RTA_DATA(data)) != 0;
      });
    });
  });
  return asked && own_switch;
}

std::string interface_name(int ifindex) {
  std::array<char, IF_NAMESIZE> name{};
  return ::if_indextoname(static_cast<unsigned>(ifindex), name.data()) == nullptr ? "" : name.data();
}

bool loopback_is_up() {
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return fd && ::ioctl(fd.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
}

Result<bool> has_clsact(int ifindex) {
  NetlinkMessage message(RTM_GETQDISC, NLM_F_ACK);
  tcmsg body{};
  body.tcm_family = AF_UNSPEC;
  body.tcm_ifindex = ifindex;
  body.tcm_handle = TC_H_MAJ(TC_H_CLSACT);
  message.body(body);
  auto asked = ask_netlink(message, "look for clsact");
  if (asked) return true;
  const int error = asked.error().sys_errno;
  if (error == ENOENT || error == EINVAL || error == ENODEV) return false;
  return std::unexpected(asked.error());
}

Result<int> count_tc_filters(int ifindex) {
  int count = 0;
  for (const uint32_t parent : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
    NetlinkMessage message(RTM_GETTFILTER, NLM_F_DUMP);
    tcmsg body{};
    body.tcm_family = AF_UNSPEC;
    body.tcm_ifindex = ifindex;
    body.tcm_parent = TC_H_MAKE(TC_H_CLSACT, parent);
    message.body(body);
    TRY_VOID(ask_netlink(message, "list tc filters", [&](const nlmsghdr* h) {
      // A dump also lists one header without handle for each priority.
      if (h->nlmsg_type == RTM_NEWTFILTER && static_cast<const tcmsg*>(NLMSG_DATA(h))->tcm_handle != 0) ++count;
    }));
  }
  return count;
}

}  // namespace tapdeck::kernel
