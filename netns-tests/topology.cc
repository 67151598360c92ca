#include "netns-tests/topology.h"

namespace tapdeck::lab {
namespace {

void default_route(const Namespace& from, const std::string& v4, const std::string& v6) {
  from.ip("route add default via " + v4);
  from.ip("-6 route add default via " + v6);
}

}  // namespace

Topology::Topology() {
  connect({client_, "eth0", "10.77.1.2/24", "fd77:1::2/64"}, {gw_, kClientSide, "10.77.1.1/24", "fd77:1::1/64"});
  connect({origin_, "eth0", "10.77.2.2/24", "fd77:2::2/64"}, {gw_, "to-origin", "10.77.2.1/24", "fd77:2::1/64"});
  default_route(client_, "10.77.1.1", "fd77:1::1");
  default_route(origin_, "10.77.2.1", "fd77:2::1");
  gw_.set_sysctl("ipv4.ip_forward", "1");
  gw_.set_sysctl("ipv6.conf.all.forwarding", "1");
  write_file(hosts_file(), std::string("127.0.0.1 localhost\n::1 localhost\n") + kOriginV4 +
                               " v4.origin.test origin.test\n" + kOriginV6 + " v6.origin.test origin.test\n");
  leaf_ = ca_.issue({.dns = {"origin.test", "v4.origin.test", "v6.origin.test"}, .ips = {kOriginV4, kOriginV6}});
}

const Namespace& Topology::add_client() {
  const auto n = std::to_string(more_.size() + 1);
  const auto& made = *more_.emplace_back(std::make_unique<Namespace>("client" + n));
  const auto v4 = "10.77.1" + n + ".", v6 = "fd77:1" + n + "::";
  connect({made, "eth0", v4 + "2/24", v6 + "2/64"}, {gw_, "to-client" + n, v4 + "1/24", v6 + "1/64"});
  default_route(made, v4 + "1", v6 + "1");
  return made;
}

}  // namespace tapdeck::lab
