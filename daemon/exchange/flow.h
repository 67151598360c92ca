// CapturedFlow: the one value the capture layer hands upwards for every accepted connection (design section 1).
//
// A plain value; knows nothing of BPF, sockets or namespaces beyond the numbers that name them. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/metrics.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::exchange {

// Who opened the connection, as far as the capture path knows; zeros where it does not.
struct Identity {
  TargetSlot target = 0;  // slot of the target: its policy
  TargetSlot label = 0;   // its label in metrics
  uint64_t cgroup_id = 0;
  uint64_t netns_cookie = 0;  // 0: the daemon's own namespace
  uint32_t pid = 0;
  uint32_t uid = 0;
  std::string comm;
};

struct CapturedFlow {
  Endpoint client;
  Endpoint destination;  // where the client wanted to go; where it is always forwarded to
  Identity identity;
  CapturePath path = CapturePath::Explicit;
};

}  // namespace tapdeck::exchange
