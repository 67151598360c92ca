#include "daemon/kernel/listener_plan.h"

#include <algorithm>

namespace tapdeck::kernel {

unsigned listeners_wanted(PortRange range, unsigned workers, unsigned limit) {
  const unsigned ports = static_cast<unsigned>(range.high) - range.low + 1;
  const unsigned enough = (kFlowsPerNamespace + ports - 1) / ports;
  const unsigned share = std::max(workers, 1U);
  const unsigned even = (enough + share - 1) / share * share;
  return std::clamp(even, 1U, std::max(limit, 1U));
}

std::vector<uint16_t> candidate_ports(PortRange range, uint32_t seed) {
  constexpr unsigned kEnough = 128;  // 64 listeners on ::1 and some that are taken
  unsigned low = range.high + 1U;
  unsigned high = 65535;
  if (high + 1 < low + kEnough) {  // no room above: just below, where registered services are rare
    high = range.low - 1U;
    low = high > 4096 + 1024 ? high - 4096 : 1024;
    if (range.low < 1024 + kEnough) {  // nor below
      low = 1024;
      high = 65535;
    }
  }
  const unsigned count = high - low + 1;
  std::vector<uint16_t> ports(count);
  for (unsigned i = 0; i < count; ++i) ports[i] = static_cast<uint16_t>(low + (seed + i) % count);
  return ports;
}

Endpoint listener_address4(unsigned index, uint16_t port) {
  Endpoint out;
  out.family = Endpoint::Family::V4;
  out.port = port;
  out.address = {127, 84, static_cast<uint8_t>(index >> 8), static_cast<uint8_t>((index & 0xff) + 1)};
  return out;
}

Endpoint listener_address6(uint16_t port) {
  Endpoint out;
  out.family = Endpoint::Family::V6;
  out.port = port;
  out.address[15] = 1;
  return out;
}

}  // namespace tapdeck::kernel
