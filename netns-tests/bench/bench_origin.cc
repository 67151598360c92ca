// The origin half: one thread a connection.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <utility>

#include "netns-tests/bench/bench_probe.h"

namespace tapdeck::bench {
namespace {

void echo(int fd) {
  char bytes[4096];
  while (true) {
    const auto got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0 || !send_or_leave(fd, bytes, static_cast<size_t>(got))) return;
  }
}

void serve_bulk(int fd) {
  unsigned char request[kBulkRequest];
  if (!read_exactly(fd, request, sizeof request)) return;
  uint64_t wanted = 0;
  for (size_t i = 1; i < kBulkRequest; ++i) wanted = wanted << 8 | request[i];
  const std::string block(256 << 10, 'b');
  while (wanted > 0) {
    const auto size = std::min<uint64_t>(block.size(), wanted);
    if (!send_or_leave(fd, block.data(), size)) return;
    wanted -= size;
  }
}

// The head and a first chunk at once, the rest a millisecond later: what a client sees early is not the end.
void serve_stream(int fd) {
  const std::string begin =
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n";
  const std::string rest = "5\r\nlast\n\r\n0\r\n\r\n";
  std::string received;
  while (true) {
    const auto end = received.find("\r\n\r\n");
    if (end == std::string::npos) {
      char bytes[4096];
      const auto got = ::recv(fd, bytes, sizeof bytes, 0);
      if (got <= 0) return;
      received.append(bytes, static_cast<size_t>(got));
      continue;
    }
    received.erase(0, end + 4);
    if (!send_or_leave(fd, begin.data(), begin.size())) return;
    ::poll(nullptr, 0, 1);
    if (!send_or_leave(fd, rest.data(), rest.size())) return;
  }
}

[[noreturn]] void accept_all(UniqueFd listener, const std::function<void(int)>& serve) {
  while (true) {
    UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!peer) die("accept");
    const int on = 1;
    ::setsockopt(peer.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread([fd = std::move(peer), serve] { serve(fd.get()); }).detach();
  }
}

}  // namespace

int run_origin(const std::string& ip, uint16_t base) {
  const auto port = [&](int offset) { return Address{ip, static_cast<uint16_t>(base + offset)}; };
  std::thread([fd = listen_on(port(0))]() mutable { accept_all(std::move(fd), echo); }).detach();
  std::thread([fd = listen_on(port(1))]() mutable { accept_all(std::move(fd), serve_bulk); }).detach();
  std::thread([fd = listen_on(port(3))]() mutable { accept_all(std::move(fd), serve_websocket); }).detach();
  std::thread([fd = listen_on(port(4))]() mutable { accept_all(std::move(fd), serve_events); }).detach();
  auto stream = listen_on(port(2));
  std::cout << "{\"ready\":true}" << std::endl;
  accept_all(std::move(stream), serve_stream);
}

}  // namespace tapdeck::bench
