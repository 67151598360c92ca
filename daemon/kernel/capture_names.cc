// Spellings of reasons: those of tapdeck_flows_uncaptured_total (docs/METRICS.md), which counts some together.
#include "daemon/kernel/capture.h"

namespace tapdeck::kernel {

std::string_view to_string(Uncaptured reason) {
  switch (reason) {
    case Uncaptured::Udp:
    case Uncaptured::Dns:
      return "udp";
    case Uncaptured::Quic:
      return "quic";
    case Uncaptured::Raw:
      return "raw";
    case Uncaptured::Other:
    case Uncaptured::Fragment:
      return "family";
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
    case Uncaptured::LeftCgroup:
      return "left_cgroup";
    case Uncaptured::ToHost:
      return "bypass";
  }
  return "?";
}

}  // namespace tapdeck::kernel
