// Spellings of reasons, as metrics and status print them.
#include "daemon/kernel/capture.h"

namespace tapdeck::kernel {

std::string_view to_string(Uncaptured reason) {
  switch (reason) {
    case Uncaptured::Udp:
      return "udp";
    case Uncaptured::Dns:
      return "dns";
    case Uncaptured::Quic:
      return "quic";
    case Uncaptured::Raw:
      return "raw";
    case Uncaptured::Other:
      return "other";
    case Uncaptured::BoundDevice:
      return "bound_device";
    case Uncaptured::Lease:
      return "lease";
    case Uncaptured::MapFull:
      return "map_full";
    case Uncaptured::NoListener:
      return "no_listener";
    case Uncaptured::PreExisting:
      return "pre_existing";
    case Uncaptured::Fragment:
      return "fragment";
    case Uncaptured::LeftCgroup:
      return "left_cgroup";
  }
  return "?";
}

}  // namespace tapdeck::kernel
