// Test support: queries as bytes, and UDP sockets on the loopback interface to say and hear them. Thread: the test's.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/base/endpoint.h"
#include "daemon/base/unique_fd.h"
#include "daemon/names/datagrams.h"

namespace tapdeck::names {

// Of bytes that contain zeros.
template <size_t N>
std::string bytes(const char (&literal)[N]) {
  return {literal, N - 1};
}

inline std::string word(unsigned value) {
  return {static_cast<char>(value >> 8 & 0xFF), static_cast<char>(value & 0xFF)};
}

// RFC 1035 3.1: "a.bc" is 1 a 2 bc 0.
inline std::string wire_name(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    out += static_cast<char>(label.size());
    out += label;
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  return out + '\0';
}

inline std::string opt_record(unsigned payload, unsigned version = 0, unsigned flags = 0) {
  return bytes("\0\0\x29") + word(payload) + word(version) + word(flags) + word(0);
}

// Recursion is desired. `additional`: one record, or none.
inline std::string query_of(unsigned id, std::string_view name, unsigned type, const std::string& additional = {},
                            unsigned record_class = 1) {
  return word(id) + word(0x0100) + word(1) + word(0) + word(0) + word(additional.empty() ? 0 : 1) + wire_name(name) +
         word(type) + word(record_class) + additional;
}

// What a resolver says to a query of query_of: flags and code, `count` records that are there whole.
inline std::string reply_to(std::string query, unsigned flags, unsigned count = 0, const std::string& records = {}) {
  return query.replace(2, 2, word(flags)).replace(6, 2, word(count)) + records;
}

// `name`: as it stands in the message; of the question by default. `more_ttl` is added to 60 s.
inline std::string record(unsigned type, const std::string& data, const std::string& name = bytes("\xc0\x0c"),
                          unsigned more_ttl = 0, unsigned record_class = 1) {
  return name + word(type) + word(record_class) + word(0) + word(60 + more_ttl) +
         word(static_cast<unsigned>(data.size())) + data;
}

// As a NameServer is given it, of this process's own namespace.
inline Result<UniqueFd> connected_to(const Endpoint& to) {
  const int family = to.family == Endpoint::Family::V6 ? AF_INET6 : AF_INET;
  return connect_datagrams(UniqueFd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), to);
}

class LoopbackUdp {
 public:
  // Bound to an address, the wildcard too, on the loopback interface alone.
  explicit LoopbackUdp(const std::string& address, uint16_t port = 0) {
    const auto at = Endpoint::parse(address, port);
    sockaddr_storage name{};
    socklen_t size = at->to_sockaddr(name);
    fd_ = UniqueFd(::socket(name.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    if (name.ss_family == AF_INET6) ::setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    EXPECT_EQ(::setsockopt(fd_.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), 0);
    is_bound_ = ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&name), size) == 0;
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
    port_ = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&name)).port;
  }
  [[nodiscard]] bool is_bound() const { return is_bound_; }
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] UniqueFd take() { return std::move(fd_); }
  [[nodiscard]] int fd() const { return fd_.get(); }

  // From now on it hears this address and port alone.
  void connect(const std::string& address, uint16_t port) {
    sockaddr_storage name{};
    const socklen_t size = Endpoint::parse(address, port)->to_sockaddr(name);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
  }
  void say(const std::string& text) { EXPECT_EQ(::send(fd_.get(), text.data(), text.size(), 0), ssize(text)); }
  // The kernel says at once that nobody listens where it is connected to.
  bool is_refused(const std::string& text) {
    ::send(fd_.get(), text.data(), text.size(), 0);
    char byte = 0;
    return ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED;
  }
  // A datagram is there to hear.
  [[nodiscard]] bool has_heard() const {
    pollfd now{fd_.get(), POLLIN, 0};
    return ::poll(&now, 1, 0) > 0;
  }
  // The next datagram; "" when none comes. Answers of answer() go to whoever sent it.
  std::string hear() {
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 20'000) <= 0) return {};
    std::string text(65535, '\0');
    from_size_ = sizeof from_;
    const ssize_t size =
        ::recvfrom(fd_.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from_), &from_size_);
    text.resize(size < 0 ? 0 : static_cast<size_t>(size));
    return text;
  }
  void answer(const std::string& text) {
    EXPECT_EQ(::sendto(fd_.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from_), from_size_),
              ssize(text));
  }

  // Who sent what was heard last.
  [[nodiscard]] std::string last_from() const {
    return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&from_)).to_string();
  }

 private:
  static ssize_t ssize(const std::string& text) { return static_cast<ssize_t>(text.size()); }
  UniqueFd fd_;
  bool is_bound_ = false;
  uint16_t port_ = 0;
  sockaddr_storage from_{};
  socklen_t from_size_ = 0;
};

}  // namespace tapdeck::names
