// Test support: a client that takes little at a time and reads late.
#pragma once

#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "daemon/base/eventually.h"
#include "daemon/server/wire.h"

namespace tapdeck::server {

inline Wire connect_narrow(const Endpoint& to) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int buffer = 65536;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  sockaddr_storage address{};
  const socklen_t size = to.to_sockaddr(address);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  return Wire(std::move(fd));
}

// Nothing more comes unless some of it is read.
inline bool is_full(int fd) {
  int before = -1;
  int quiet = 0;
  return eventually([&] {
    int now = 0;
    ::ioctl(fd, FIONREAD, &now);
    quiet = now == before ? quiet + 1 : 0;
    before = now;
    return quiet > 8;
  });
}

}  // namespace tapdeck::server
