#include "daemon/kernel/host_servers.h"

#include <linux/inet_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "daemon/kernel/sock_diag.h"

namespace tapdeck::kernel {

Result<HostServers> HostServers::here() {
  TRY(fd, open_sock_diag());
  return HostServers(std::move(fd));
}

Result<std::set<Endpoint>> HostServers::listening() const {
  std::set<Endpoint> out;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    TRY_VOID(dump_tcp(fd_.get(), family, 1U << TCP_LISTEN, [&out](const inet_diag_msg& m, const SocketFacts& facts) {
      Endpoint at = local_of(m);
      out.insert(at);
      if (at.family != Endpoint::Family::V6 || !at.is_unspecified() || facts.is_v6_only) return;
      at.family = Endpoint::Family::V4;
      out.insert(at);
    }));
  }
  return out;
}

}  // namespace tapdeck::kernel
