// Datagrams of a UDP socket: to which address one was sent, and an answer from that address. Thread: any. What is sent
// and received is never waited for.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::names {

// A valid IPv4 or IPv6 datagram is no longer.
inline constexpr size_t kMostDatagram = 65535;

struct Datagram {
  Endpoint from;
  Endpoint to;             // without its port, which is the socket's; the interface it came by as scope if link-local
  std::string_view bytes;  // in the buffer given
};

// Makes a bound UDP socket one for the functions below: does not block, says where datagrams were sent to, may answer
// from addresses that no interface has.
[[nodiscard]] Result<void> prepare(int fd, Endpoint::Family family);
// nullopt: there is none now, or one of which it is not known where it was sent to.
[[nodiscard]] std::optional<Datagram> receive(int fd, std::span<char> buffer);
// What cannot be sent now is lost, as datagrams are.
void send(int fd, const Endpoint& from, const Endpoint& to, std::string_view bytes);
// A UDP socket, connected. Errors: those of connect(); Exhausted, its descriptor is one of those kept for others.
[[nodiscard]] Result<UniqueFd> connect_datagrams(UniqueFd fd, const Endpoint& to);

}  // namespace tapdeck::names
