// Channel: a connected and, where asked for, verified transport to an origin, and what was learned while dialling it.
// What an h1 or h2 connection is made of. Also the key that says which of them are interchangeable.
//
// It speaks no HTTP yet. Owner: the connection made of it. Thread: its worker's.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/metrics.h"
#include "daemon/base/unique_fd.h"
#include "daemon/exchange/exchange.h"
#include "daemon/http/codec.h"
#include "daemon/tls/client_context.h"
#include "daemon/tls/tls_session.h"
#include "daemon/tls/verify.h"
#include "daemon/transport/transport.h"

namespace tapdeck::upstream {

enum class Security { Clear, Tls };

// The offer that means HTTP/2 with prior knowledge on a connection in clear (RFC 9113 3.3).
inline constexpr std::string_view kPriorKnowledge = "h2c";

// What makes two connections interchangeable. Those of different targets never are: what an origin knows of one of them
// by its connection is not true of the other.
struct Key {
  uint64_t netns_cookie = 0;
  Endpoint address;
  std::string host;  // to be looked up when dialling; `address` then has only the port. Empty: `address` says it all
  Security security = Security::Clear;
  std::string server_name;  // SNI of the client, empty: none
  std::string alpn;         // protocols offered to the origin in order, "h2,http/1.1"; kPriorKnowledge; empty: none
  TargetSlot target = 0;    // whose connections these are, as exchange::Identity
  uint64_t tenant = 0;
  friend bool operator==(const Key&, const Key&) = default;

  [[nodiscard]] std::string where() const {  // "host:port" or the address
    return host.empty() ? address.to_string() : host + ':' + std::to_string(address.port);
  }

  // A connection of this key may turn out to be h2, and so be shared.
  [[nodiscard]] bool may_be_h2() const { return alpn == kPriorKnowledge || ("," + alpn + ",").contains(",h2,"); }
};

struct KeyHash {
  size_t operator()(const Key& key) const;
};

// The same without the target: what a handshake proves of an origin is true for all of them.
struct OriginHash {
  size_t operator()(const Key& key) const;
};
struct SameOrigin {
  bool operator()(const Key& left, const Key& right) const;
};

// Makes the sockets of the upstream leg, in the network namespace the flow came from. Thread: any worker's.
class SocketSource {
 public:
  virtual ~SocketSource() = default;
  // Non-blocking TCP socket that capture will leave alone. family: AF_INET or AF_INET6.
  [[nodiscard]] virtual Result<UniqueFd> upstream_socket(uint64_t netns_cookie, int family) = 0;
};

class NameCache;
class OwnAddresses;
class ParkedStreams;

// What every dial of a worker shares. All outlive its connections.
struct DialContext {
  asio::any_io_executor executor;
  SocketSource* sockets = nullptr;
  const tls::UpstreamTrust* trust = nullptr;
  tls::ClientSessionCache* sessions = nullptr;
  Metrics* metrics = nullptr;
  http::Limits limits;
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds tls_timeout{10000};
  std::chrono::milliseconds idle_timeout{300000};
  NameCache* names = nullptr;         // null: nothing has a name here
  const OwnAddresses* own = nullptr;  // never dialled; null: we have none
  ParkedStreams* parked = nullptr;    // null: none are
};

struct Channel {
  // TLS facts; empty strings in clear text.
  struct Tls {
    std::string version, alpn, certificate;
    bool certificate_requested = false;
    bool is_without_san = false;  // verified by its common name
    bool resumed = false;         // then the rest is that of the handshake before: nothing was verified now
    [[nodiscard]] std::string_view verified() const { return is_without_san ? tls::kNoSan : "ok"; }
  };
  Key key;
  std::unique_ptr<transport::Transport> transport;
  Tls tls;
  std::optional<exchange::Clock::duration> connect_time, tls_time;

  // What was agreed on, or known beforehand.
  [[nodiscard]] bool is_h2() const { return tls.alpn == "h2" || key.alpn == kPriorKnowledge; }
};

// How a dial ended: a channel (transport set), or an error and what is known of a certificate that did not verify.
struct Dialed {
  Channel channel;
  Error error;
  std::optional<tls::PeerReport> report;
  bool certificate_requested = false;  // also of a handshake that failed for want of one (TLS 1.2)
};

// Connects and, for Security::Tls, completes a verified handshake. Never sends application data otherwise.
net::Task<Dialed> dial(DialContext& context, Key key, tls::Resume resume);

}  // namespace tapdeck::upstream
