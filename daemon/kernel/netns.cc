#include "daemon/kernel/netns.h"
#include "daemon/kernel/rtnetlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace tapdeck::kernel {
namespace {

Result<UniqueFd> open_netns(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + path, Origin::Kernel);
  return fd;
}

Result<void> set_option(int fd, int level, int name, int value, const char* what) {
  if (::setsockopt(fd, level, name, &value, sizeof(value)) != 0) return fail_errno(errno, what, Origin::Kernel);
  return {};
}

// First global address of the namespace, for those without a default route; one on lo, which has no link, comes last.
Endpoint first_address(int family) {
  Endpoint on_loopback;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != family) continue;
    Endpoint address = Endpoint::from_sockaddr(i->ifa_addr);
    const bool link_local = family == AF_INET6 && address.address[0] == 0xfe && (address.address[1] & 0xc0) == 0x80;
    if (link_local || address.is_loopback()) continue;
    if ((i->ifa_flags & IFF_LOOPBACK) == 0) return address;
    on_loopback = address;
  }
  return on_loopback;
}

}  // namespace

Result<UniqueFd> open_own_netns() {
  return open_netns("/proc/thread-self/ns/net");
}

namespace {

// Of a process whose main thread has ended the link cannot be read: another thread's can.
std::string netns_link_of(int pid, struct stat& info) {
  const std::string process = "/proc/" + std::to_string(pid);
  std::string link = process + "/ns/net";
  if (::stat(link.c_str(), &info) == 0) return link;
  std::error_code error;
  for (std::filesystem::directory_iterator thread(process + "/task", error), end; !error && thread != end;
       thread.increment(error)) {
    std::string other = thread->path().string() + "/ns/net";
    if (::stat(other.c_str(), &info) == 0) return other;
  }
  info = {};
  return link;
}

}  // namespace

Result<UniqueFd> open_netns_of(int pid) {
  struct stat info{};
  return open_netns(netns_link_of(pid, info));
}

uint64_t netns_inode_of(int pid) {
  struct stat info{};
  ignore(netns_link_of(pid, info), "0 where no thread is left");
  return info.st_ino;
}

Result<void> NetnsScope::run(int netns_fd, int home_fd, const std::function<Result<void>()>& body) {
  if (::setns(netns_fd, CLONE_NEWNET) != 0) {
    return fail_errno(errno, "enter network namespace (needs CAP_SYS_ADMIN)", Origin::Kernel);
  }
  const NetnsScope scope(home_fd);
  return body();
}

NetnsScope::~NetnsScope() {
  if (::setns(home_fd_, CLONE_NEWNET) == 0) return;
  std::perror("tapdeck: cannot return to the daemon's network namespace");
  std::abort();
}

Result<uint64_t> netns_cookie() {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "socket", Origin::Kernel);
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
    return fail_errno(errno, "SO_NETNS_COOKIE (needs kernel 5.14)", Origin::Kernel);
  }
  return cookie;
}

PortRange local_port_range() {
  PortRange range;
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/sys/net/ipv4/ip_local_port_range", "re"), &std::fclose);
  unsigned low = 0;
  unsigned high = 0;
  if (file && std::fscanf(file.get(), "%u %u", &low, &high) == 2 && low <= high && high <= 65535) {
    range.low = static_cast<uint16_t>(low);
    range.high = static_cast<uint16_t>(high);
  }
  return range;
}

Endpoint preferred_source(int family) {
  // Documentation addresses: they follow the default route.
  const Endpoint source = route_source(*Endpoint::parse(family == AF_INET ? "203.0.113.1:9" : "[2001:db8::1]:9"));
  return source.family == Endpoint::Family::None ? first_address(family) : source;
}

Result<UniqueFd> make_marked_socket(int family, uint32_t mark, Transport transport) {
  const bool is_udp = transport == Transport::Udp;
  // IPPROTO_TCP by name: runtimes that default to MPTCP made sockets our programs cannot follow (go#69016).
  UniqueFd fd(::socket(family, (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC,
                       is_udp ? IPPROTO_UDP : IPPROTO_TCP));
  if (!fd) return fail_errno(errno, "socket", Origin::Kernel);
  TRY_VOID(set_option(fd.get(), SOL_SOCKET, SO_MARK, static_cast<int>(mark), "SO_MARK (needs CAP_NET_ADMIN)"));
  return fd;
}

namespace {

Result<void> be_transparent(int fd, bool v6) {
  return v6 ? set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT (needs CAP_NET_ADMIN)")
            : set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT (needs CAP_NET_ADMIN)");
}

std::unexpected<Error> not_bound(int error, const Endpoint& address) {
  auto failed = fail_errno(error, "listen on " + address.to_string(), Origin::Kernel);
  if (error == EADDRINUSE) failed.error().code = Code::AlreadyExists;
  return failed;
}

}  // namespace

Result<UniqueFd> make_datagram_door(const Endpoint& address, uint32_t mark, Transparent transparent) {
  const bool v6 = address.family == Endpoint::Family::V6;
  TRY(fd, make_marked_socket(v6 ? AF_INET6 : AF_INET, mark, Transport::Udp));
  if (v6) TRY_VOID(set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
  if (transparent == Transparent::Yes) {
    TRY_VOID(be_transparent(fd.get(), v6));
    // A name server of this host may have the port for every address. Nobody is in anybody's way: what arrives at ours
    // is assigned to it.
    TRY_VOID(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  }
  sockaddr_storage raw{};
  const socklen_t length = address.to_sockaddr(raw);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), length) != 0) return not_bound(errno, address);
  return fd;
}

Result<UniqueFd> make_listener(const Endpoint& address, uint32_t mark, Transparent transparent) {
  const bool v6 = address.family == Endpoint::Family::V6;
  TRY(fd, make_marked_socket(v6 ? AF_INET6 : AF_INET, mark));
  TRY_VOID(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  if (v6) TRY_VOID(set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
  if (transparent == Transparent::Yes) TRY_VOID(be_transparent(fd.get(), v6));
  sockaddr_storage raw{};
  const socklen_t length = address.to_sockaddr(raw);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), length) != 0 || ::listen(fd.get(), 4096) != 0) {
    return not_bound(errno, address);
  }
  return fd;
}

}  // namespace tapdeck::kernel
