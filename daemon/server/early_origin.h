// EarlyOrigin: connections to a flow's origin that were made before it was known what goes through them: to learn its
// certificate, to hear whether it speaks first, to answer a CONNECT. Each serves the client it was made for, as its
// tunnel or for its first exchange.
//
// Owner: the Connection. Thread: its worker's.
#pragma once

#include <memory>

#include "daemon/server/flow_facts.h"
#include "daemon/upstream/connect.h"

namespace tapdeck::server {

class EarlyOrigin {
 public:
  explicit EarlyOrigin(const FlowFacts& facts) : facts_(facts) {}

  void keep(std::unique_ptr<net::Stream> dialed) { dialed_ = std::move(dialed); }
  void keep(std::unique_ptr<upstream::Lane> lane) { learned_ = std::move(lane); }
  // Kept only where this client may need it as a tunnel: all others share the pool.
  void keep_or_share(std::unique_ptr<upstream::Lane> lane);

  // What is kept, else a new connection. Null: there is none, which was told to log and metrics, and is told to the
  // client should it ask by HTTP after all.
  net::Task<std::unique_ptr<net::Stream>> reach_plain();
  net::Task<std::unique_ptr<upstream::Lane>> reach_tls();

  // The stream is for whoever dials this origin next.
  void park();
  // The client makes its own TLS connection.
  void drop_lane() { learned_.reset(); }
  // All is for the client's exchanges.
  void share();

 private:
  const FlowFacts& facts_;
  std::unique_ptr<net::Stream> dialed_;
  std::unique_ptr<upstream::Lane> learned_;  // the same in TLS
  upstream::ParkedStreams::Ticket parked_;
};

}  // namespace tapdeck::server
