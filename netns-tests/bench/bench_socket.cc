#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "netns-tests/bench/bench_probe.h"

namespace tapdeck::bench {
namespace {

sockaddr_in to_sockaddr(const Address& address) {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_port = htons(address.port);
  if (::inet_pton(AF_INET, address.ip.c_str(), &raw.sin_addr) != 1) die("not an IPv4 address: " + address.ip);
  return raw;
}

}  // namespace

void die(const std::string& what) {
  std::cerr << "bench_probe: " << what << ": " << std::strerror(errno) << "\n";  // NOLINT(concurrency-mt-unsafe)
  std::_Exit(1);
}

UniqueFd connect_to(const Address& address) {
  const sockaddr_in raw = to_sockaddr(address);
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) die("socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&raw), sizeof raw) != 0) die("connect to " + address.ip);
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

UniqueFd listen_on(const Address& address) {
  const sockaddr_in raw = to_sockaddr(address);
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&raw), sizeof raw) != 0) die("bind");
  if (::listen(fd.get(), 4096) != 0) die("listen");
  return fd;
}

void send_all(int fd, const void* bytes, size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const auto sent = ::send(fd, at, size, MSG_NOSIGNAL);
    if (sent < 0) die("send");
    at += sent;
    size -= static_cast<size_t>(sent);
  }
}

bool send_or_leave(int fd, const void* bytes, size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const auto sent = ::send(fd, at, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool read_exactly(int fd, void* bytes, size_t size) {
  char* at = static_cast<char*>(bytes);
  while (size > 0) {
    const auto got = ::recv(fd, at, size, 0);
    if (got < 0) die("recv");
    if (got == 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace tapdeck::bench
