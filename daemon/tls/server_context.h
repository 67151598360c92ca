// ServerContext: what all TLS sessions towards clients share: protocol limits and the ticket keys.
//
// It holds no certificate (each session brings its credential). Owner: the app, one a process, outlives its sessions.
// Thread: any; the ticket keys are locked, touched once a handshake.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "daemon/base/result.h"
#include "daemon/tls/clock.h"
#include "daemon/tls/openssl_fwd.h"

namespace tapdeck::tls {

enum class MinVersion : uint16_t { Tls12 = 0x0303, Tls13 = 0x0304 };

struct ServerContextOptions {
  MinVersion min_version = MinVersion::Tls12;
  std::chrono::hours ticket_rotation{12};  // a key encrypts for this long, then decrypts once as long
  Clock clock = system_now;
};

class ServerContext {
 public:
  [[nodiscard]] static Result<std::unique_ptr<ServerContext>> create(const ServerContextOptions& options = {});
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  [[nodiscard]] ssl_ctx_st* get() const { return context_.get(); }  // for this folder only

 private:
  ServerContext();
  struct TicketKeys;
  std::unique_ptr<TicketKeys> keys_;  // before context_: its callbacks use them
  SslContextPtr context_;
  friend struct ServerContextCallbacks;
};

}  // namespace tapdeck::tls
