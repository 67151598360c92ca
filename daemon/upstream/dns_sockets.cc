#include "daemon/upstream/dns_sockets.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

namespace tapdeck::upstream {

ares_socket_t DnsSockets::open(int family, int type, int protocol, void* self) {
  const int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  const bool is_exhausted = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
  if (is_exhausted) static_cast<DnsSockets*>(self)->is_exhausted_ = true;
  return fd;
}

void DnsSockets::serve(ares_channel channel) {
  static constexpr ares_socket_functions kFunctions = {
      &DnsSockets::open,
      [](ares_socket_t fd, void*) { return ::close(fd); },
      [](ares_socket_t fd, const sockaddr* to, ares_socklen_t size, void*) { return ::connect(fd, to, size); },
      [](ares_socket_t fd, void* into, size_t size, int flags, sockaddr* from, ares_socklen_t* from_size, void*) {
        return ::recvfrom(fd, into, size, flags, from, from_size);
      },
      [](ares_socket_t fd, const iovec* pieces, int count, void*) { return ::writev(fd, pieces, count); },
  };
  ares_set_socket_functions(channel, &kFunctions, this);
}

}  // namespace tapdeck::upstream
