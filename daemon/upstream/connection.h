// Connection: one connection to an origin: transport, client codec, and what was learned while dialling.
//
// It knows no pool, mode or recording. An exchange at a time (h1): send_*, flush, next() until MessageComplete.
// Owner: a handler while in use, the Pool while idle. Thread: its worker's.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/exchange/exchange.h"
#include "daemon/http/codec.h"
#include "daemon/net/deadline.h"
#include "daemon/tls/client_context.h"
#include "daemon/tls/verify.h"
#include "daemon/transport/transport.h"

namespace tapdeck::upstream {

enum class Security { Clear, Tls };

// What makes two connections interchangeable.
struct Key {
  uint64_t netns_cookie = 0;
  Endpoint address;
  Security security = Security::Clear;
  std::string server_name;  // SNI of the client, empty: none
  std::string alpn;         // the one protocol offered to the origin, empty: none
  friend bool operator==(const Key&, const Key&) = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const;
};

// Makes the sockets of the upstream leg, in the network namespace the flow came from. Thread: any worker's.
class SocketSource {
 public:
  virtual ~SocketSource() = default;
  // Non-blocking TCP socket that capture will leave alone. family: AF_INET or AF_INET6.
  [[nodiscard]] virtual Result<UniqueFd> upstream_socket(uint64_t netns_cookie, int family) = 0;
};

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
};

class Connection {
 public:
  Connection(DialContext& context, Key key, std::unique_ptr<transport::Transport> transport);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // The next event of the response. nullopt: the origin ended the connection between messages. Waits at most the idle
  // timeout for each read. Errors have origin Upstream: Timeout, Reset, Truncated, Protocol, TooLarge.
  net::Task<Result<std::optional<http::Event>>> next();
  net::Task<Result<void>> flush();

  [[nodiscard]] http::Codec& codec() { return *codec_; }
  [[nodiscard]] transport::Transport& transport() { return *transport_; }
  [[nodiscard]] const Key& key() const { return key_; }
  // Between exchanges, not closing, nothing unexpected received. No syscall.
  [[nodiscard]] bool is_reusable() const;
  // The origin neither closed it nor sent anything unasked. One syscall.
  [[nodiscard]] bool is_quiet() { return transport_->is_quiet(); }
  void close() { transport_->close(); }
  [[nodiscard]] std::chrono::milliseconds idle_timeout() const { return context_.idle_timeout; }

  // TLS facts of the connection; empty strings in clear text.
  struct Tls {
    std::string version, alpn, certificate;
    bool certificate_requested = false;
  };
  [[nodiscard]] const Tls& tls() const { return tls_; }
  void set_tls(Tls facts) { tls_ = std::move(facts); }
  std::optional<exchange::Clock::duration> connect_time, tls_time;
  bool reused = false;

 private:
  DialContext& context_;
  Key key_;
  std::unique_ptr<transport::Transport> transport_;
  std::unique_ptr<http::Codec> codec_;
  net::Deadline deadline_;
  Tls tls_;
};

// How a dial ended: a connection, or an error and what is known of a certificate that did not verify.
struct Dialed {
  std::unique_ptr<Connection> connection;
  Error error;
  std::optional<tls::PeerReport> report;
};

// Connects and, for Security::Tls, completes a verified handshake. Never sends application data otherwise.
net::Task<Dialed> dial(DialContext& context, Key key);

}  // namespace tapdeck::upstream
