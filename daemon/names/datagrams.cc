#include "daemon/names/datagrams.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "daemon/base/descriptors.h"

namespace tapdeck::names {
namespace {

constexpr size_t kControlBytes = 256;

// The address a datagram was sent to.
Endpoint destination_of(msghdr& message) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(part), sizeof info);
      sockaddr_in to{.sin_family = AF_INET, .sin_port = 0, .sin_addr = info.ipi_addr, .sin_zero = {}};
      return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&to));
    }
    if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(part), sizeof info);
      sockaddr_in6 to{};
      to.sin6_family = AF_INET6;
      to.sin6_addr = info.ipi6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&to.sin6_addr)) to.sin6_scope_id = info.ipi6_ifindex;
      return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&to));
    }
  }
  return {};
}

template <class Info>
void attach(msghdr& message, int level, int type, const Info& info) {
  message.msg_controllen = CMSG_SPACE(sizeof info);
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = level;
  part->cmsg_type = type;
  part->cmsg_len = CMSG_LEN(sizeof info);
  std::memcpy(CMSG_DATA(part), &info, sizeof info);
}

}  // namespace

Result<void> prepare(int fd, Endpoint::Family family) {
  const bool is_v6 = family == Endpoint::Family::V6;
  const int on = 1;
  const int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::setsockopt(fd, level, is_v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on, sizeof on) != 0 ||
      ::setsockopt(fd, level, is_v6 ? IPV6_FREEBIND : IP_FREEBIND, &on, sizeof on) != 0) {
    return fail_errno(errno, "prepare the socket of the name server", Origin::Kernel);
  }
  return {};
}

std::optional<Datagram> receive(int fd, std::span<char> buffer) {
  sockaddr_storage from{};
  alignas(cmsghdr) char control[kControlBytes];
  iovec piece{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(fd, &message, 0);
  if (size < 0) return std::nullopt;
  Datagram datagram;
  datagram.from = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&from));
  datagram.to = destination_of(message);
  datagram.bytes = {buffer.data(), static_cast<size_t>(size)};
  if (datagram.to.family == Endpoint::Family::None) return std::nullopt;
  return datagram;
}

void send(int fd, const Endpoint& from, const Endpoint& to, std::string_view bytes) {
  sockaddr_storage target;
  alignas(cmsghdr) char control[kControlBytes] = {};
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_name = &target;
  message.msg_namelen = to.to_sockaddr(target);
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (from.family == Endpoint::Family::V4) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, from.address.data(), sizeof info.ipi_spec_dst);
    attach(message, IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, from.address.data(), sizeof info.ipi6_addr);
    info.ipi6_ifindex = from.scope_id;
    attach(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
  ignore(::sendmsg(fd, &message, MSG_NOSIGNAL), "a datagram may be lost: who asked asks again");
}

Result<UniqueFd> connect_datagrams(UniqueFd fd, const Endpoint& to) {
  if (fd.get() >= descriptor_bounds().serving) {
    return fail(Code::Exhausted, "no descriptor is left to ask " + to.to_string() + " with");
  }
  sockaddr_storage target;
  const socklen_t size = to.to_sockaddr(target);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&target), size) != 0) {
    return fail_errno(errno, "ask " + to.to_string(), Origin::Upstream);
  }
  return fd;
}

}  // namespace tapdeck::names
