// CapturedFlow: the one value the capture layer hands upwards for every accepted connection.
//
// A plain value; knows nothing of BPF, sockets or namespaces beyond the numbers that name them. Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/metrics.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::exchange {

// Who opened the connection, as far as the capture path knows; zeros where it does not.
struct Identity {
  TargetSlot target = 0;  // slot of the target: its policy
  TargetSlot label = 0;   // its label in metrics
  uint64_t tenant = 0;    // which of the targets that had the slot, one after another (modes::TargetState::tenant)
  uint64_t cgroup_id = 0;
  uint64_t netns_cookie = 0;  // 0: the daemon's own namespace
  uint32_t pid = 0;
  uint32_t uid = 0;
  std::string comm;
};

// Where an exchange goes when its message says so, and not its packets: explicit and reverse proxy. Immutable.
struct UpstreamRoute {
  // AsClient: TLS towards the origin when the client speaks TLS, with its SNI (what is inside a CONNECT).
  enum class Security : uint8_t { AsClient, Clear, Tls };
  std::string host;  // name in lower case, or an IP without brackets
  uint16_t port = 0;
  Security security = Security::AsClient;
  std::string offer;           // protocols to offer the origin, "h2,http/1.1"; "h2c": HTTP/2 in clear; empty: none
  std::optional<size_t> rule;  // the [[routes]] entry that names this upstream, by its place in the file

  [[nodiscard]] std::string to_string() const;  // "host:port", brackets where they belong
};

struct CapturedFlow {
  Endpoint client;
  // Where the client wanted to go; where it is always forwarded to. With a `route` to a name only the port is set.
  Endpoint destination;
  Identity identity;
  CapturePath path = CapturePath::Explicit;
  std::shared_ptr<const UpstreamRoute> route;  // null: the destination says it all
  uint64_t connection = 0;  // which of its worker's client connections (upstream::Pool::Client); 0: not known
  bool to_proxy = false;    // the client talks to our explicit listener, and says where it wants to go
  bool is_nested = false;   // it is what a CONNECT inside another client connection became

  // For logs, errors and people: the route's, else the destination's.
  [[nodiscard]] std::string destination_text() const;
};

}  // namespace tapdeck::exchange
