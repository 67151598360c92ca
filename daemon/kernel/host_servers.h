// HostServers: on which addresses and ports of a network namespace somebody listens, asked from elsewhere: the socket
// that asks is made where the servers are, and keeps asking there. One netlink dump a look, of listening sockets alone.
// Thread: one at a time.
#pragma once

#include <set>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

class HostServers {
 public:
  // Those of the calling thread's namespace. Needs no privileges (sock_diag(7)).
  [[nodiscard]] static Result<HostServers> here();
  // TCP. The unspecified address of a family is all of its addresses; a server on [::] is on 0.0.0.0 too, unless it
  // is for IPv6 alone (IPV6_V6ONLY).
  [[nodiscard]] Result<std::set<Endpoint>> listening() const;

 private:
  explicit HostServers(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace tapdeck::kernel
