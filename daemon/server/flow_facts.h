// FlowFacts: what is known by now of an accepted flow, and what follows from it: its target's mode, its route, the keys
// its origin has in the pool, where the store keeps what is learned of it.
//
// Not what is done with it (server/connection). Owner: the Connection. Thread: its worker's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/server/worker_context.h"
#include "store/opening.h"

namespace tapdeck::server {

class FlowFacts {
 public:
  FlowFacts(WorkerContext& worker, exchange::CapturedFlow captured);
  FlowFacts(const FlowFacts&) = delete;
  FlowFacts& operator=(const FlowFacts&) = delete;

  // Both are read anew each time, since they change while a flow lives. The reference is valid until the next question
  // asked here or of the worker's view: any may read a newer snapshot, and let go of this one.
  [[nodiscard]] const modes::TargetState& target() const;
  // The route of the connection as a whole, as far as its name is known by now; null: none.
  [[nodiscard]] const config::Route* route() const;
  // What is not on tape is an error: never a tunnel. By its route's mode; where that has none, by the target's.
  [[nodiscard]] bool is_sealed() const;
  // The tape may know what the network does not: then the client learns of an origin that is gone with the first
  // request that needs it.
  [[nodiscard]] bool may_answer_from_tape() const;
  [[nodiscard]] bool is_bypassed(std::string_view host) const;

  // The name in the client's CONNECT, or the IP it wants to talk to.
  [[nodiscard]] std::string asked_host() const;
  // The name in its ClientHello, before all others.
  [[nodiscard]] std::string host() const;
  // In the pool, for what the client speaks; its route may say otherwise.
  [[nodiscard]] upstream::Key plain_key() const { return key(upstream::Security::Clear); }
  [[nodiscard]] upstream::Key tls_key() const { return key(upstream::Security::Tls); }
  [[nodiscard]] bool is_http_by_alpn() const { return !tls.client_offer.empty(); }

  // Where it is looked for in the store.
  [[nodiscard]] store::Place place() const;
  // Where what is learned without an exchange belongs; nullopt: nothing is recorded. A copy, since no snapshot is kept.
  [[nodiscard]] std::optional<store::Take> open_take() const;
  void record(store::PendingWrite write) const;  // where open_take() has a value

 private:
  [[nodiscard]] upstream::Key key(upstream::Security security) const;
  upstream::Pool::Client client_;  // dies after what it owns in the pool

 public:
  WorkerContext& worker;
  exchange::CapturedFlow flow;
  exchange::TlsFacts tls;
  bool secure = false;         // the client began with a ClientHello
  bool follows_origin = true;  // no route says what to speak with the origin
};

}  // namespace tapdeck::server
