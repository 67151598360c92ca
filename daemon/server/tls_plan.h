// TlsPlanner: what a client that begins with a ClientHello is shown before its handshake ends: the leaf, the protocol,
// and whether its origin's certificate was good. By dialling and verifying the origin, or by what the session knows.
//
// Not the handshake (server/connection_tls). Owner: the Connection's coroutine. Thread: its worker's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/server/early_origin.h"
#include "daemon/tls/cert_mint.h"

namespace tapdeck::server {

struct TlsPlan {
  tls::LeafSpec leaf;
  std::string alpn;      // to agree with the client
  std::string policy;    // bounds resumption
  std::string mirrors;   // how the origin's certificate failed, when the leaf shows the same failure
  bool is_live = false;  // that was seen now, not learned from the tape
};

class TlsPlanner {
 public:
  // `facts.tls` has what the client offers and what is offered upstream, and is told what the origin was seen to be.
  TlsPlanner(FlowFacts& facts, EarlyOrigin& origin) : facts_(facts), origin_(origin) {}

  // nullopt: the origin asks for a certificate that only the client can have; tunnel it. One that cannot be reached has
  // an ordinary plan: the first request is told.
  net::Task<std::optional<TlsPlan>> make();
  // That the certificate failed, for replay: no exchange may follow that would say it.
  void record_failure(const TlsPlan& plan, std::string_view agreed) const;

 private:
  net::Task<bool> learn_upstream(TlsPlan& plan);  // false: as nullopt
  void follow_verdict(const upstream::Verdict& verdict, TlsPlan& plan);
  net::Task<> learn_from_tape(TlsPlan& plan);
  net::Task<std::optional<store::OriginFacts>> recorded_facts();
  void follow_tape(const store::OriginFacts& recorded, TlsPlan& plan) const;
  void show_no_san(TlsPlan& plan) const;
  [[nodiscard]] bool mirror(const tls::PeerReport& failure, const std::string& text, TlsPlan& plan) const;
  void note_certificate_request() const;
  [[nodiscard]] bool may_spare_dial() const;

  FlowFacts& facts_;
  EarlyOrigin& origin_;
};

// What a client is told in replay of an origin recorded as `recorded`: what that spoke, if it is in `offer` (ALPN names
// with commas between). Else what the client can, best translated: http/1.1 before h2. Empty: no ALPN, as from an
// origin that was recorded without, for a client that needs none or that got none then.
[[nodiscard]] std::string replayed_alpn(std::string_view offer, const store::OriginFacts& recorded);

}  // namespace tapdeck::server
