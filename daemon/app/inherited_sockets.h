// Sockets to the network that whoever started us left open for the command: made outside the run's cgroup, they are
// neither captured nor sealed. Unix sockets are not looked at, nor what may be passed through them later. Thread: any.
#pragma once

#include <string>
#include <vector>

namespace tapdeck::app {

struct InheritedSocket {
  int fd = -1;
  std::string kind;  // "IPv4 TCP socket", "listening IPv6 TCP socket", "packet socket"
};

// Of this process, those that are not close-on-exec: IPv4, IPv6 and packet sockets, by descriptor.
[[nodiscard]] std::vector<InheritedSocket> inherited_sockets();

// For people: "descriptor 5 is an IPv4 TCP socket made outside the run".
[[nodiscard]] std::string describe(const InheritedSocket& socket);
// What to do about it: "close it (5>&-)".
[[nodiscard]] std::string remedy(const InheritedSocket& socket);

}  // namespace tapdeck::app
