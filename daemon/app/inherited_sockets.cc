#include "daemon/app/inherited_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

namespace tapdeck::app {
namespace {

// -1 when it is no socket.
int option(int fd, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

std::string protocol_name(int fd) {
  if (option(fd, SO_TYPE) == SOCK_RAW) return "raw";
  switch (const int protocol = option(fd, SO_PROTOCOL)) {
    case IPPROTO_TCP:
    case IPPROTO_MPTCP:
      return "TCP";
    case IPPROTO_UDP:
      return "UDP";
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      return "ping";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

std::optional<std::string> kind_of(int fd) {
  const int domain = option(fd, SO_DOMAIN);
  if (domain == AF_PACKET) return "packet socket";
  if (domain != AF_INET && domain != AF_INET6) return std::nullopt;
  return std::string(option(fd, SO_ACCEPTCONN) == 1 ? "listening " : "") + (domain == AF_INET ? "IPv4 " : "IPv6 ") +
         protocol_name(fd) + " socket";
}

}  // namespace

std::vector<InheritedSocket> inherited_sockets() {
  std::vector<InheritedSocket> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC) != 0) continue;
    if (auto kind = kind_of(fd)) found.push_back({fd, std::move(*kind)});
  }
  std::ranges::sort(found, {}, &InheritedSocket::fd);
  return found;
}

std::string describe(const InheritedSocket& socket) {
  const bool vowel = socket.kind.starts_with('I');
  return "descriptor " + std::to_string(socket.fd) + " is " + (vowel ? "an " : "a ") + socket.kind +
         " made outside the run";
}

std::string remedy(const InheritedSocket& socket) {
  return socket.fd <= 2 ? "redirect it" : "close it (" + std::to_string(socket.fd) + ">&-)";
}

}  // namespace tapdeck::app
