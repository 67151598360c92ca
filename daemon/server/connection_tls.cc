// Connection's part for clients that begin with a ClientHello: what is decrypted, and the handshake.
#include <utility>

#include "daemon/base/log.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/select.h"
#include "daemon/net/offload.h"
#include "daemon/server/connection.h"
#include "daemon/server/handshake_failure.h"
#include "store/client_certificates.h"

namespace tapdeck::server {

net::Task<> Connection::serve_tls(tls::ClientHello hello) {
  facts_.secure = true;
  first_byte_.reset();  // it was one of the ClientHello
  opening_.reset();     // as was the silence before it
  facts_.tls.sni = hello.sni;
  if (facts_.is_bypassed(hello.sni.empty() && facts_.flow.route != nullptr ? facts_.flow.route->host : hello.sni)) {
    co_return co_await tunnel(Counter::TunnelledBypass);
  }
  // What the client offers and we have a codec for, in the client's order.
  for (const std::string& protocol : hello.alpn) {
    if (protocol != "h2" && protocol != "http/1.1" && protocol != "http/1.0") continue;
    facts_.tls.client_offer += (facts_.tls.client_offer.empty() ? "" : ",") + protocol;
  }
  const auto fixed = modes::upstream_offer_of(facts_.route(), config::Scheme::Https);
  facts_.tls.upstream_offer = fixed.value_or(facts_.tls.client_offer);
  facts_.follows_origin = !fixed;
  if (!hello.alpn.empty() && facts_.tls.client_offer.empty()) co_return co_await tunnel(Counter::TunnelledAlpn);
  deadline_.clear();
  TlsPlanner planner(facts_, origin_);
  const auto plan = co_await planner.make();
  if (!plan) co_return co_await tunnel(Counter::TunnelledClientCert);
  const bool accepted = co_await accept_tls(*plan, planner);
  if (!accepted) co_return;
  if (!facts_.is_http_by_alpn()) {
    auto sniffed = co_await sniff_client();
    if (!sniffed) co_return;
    if (sniffed->protocol != Protocol::Http1) co_return co_await tunnel(Counter::TunnelledNotHttp);
  }
  co_await serve_http();
}

net::Task<bool> Connection::accept_tls(const TlsPlan& plan, const TlsPlanner& planner) {
  const std::string& sni = facts_.tls.sni;
  const auto minting = exchange::Clock::now();
  auto credential = context_.leaves.get(plan.leaf);
  if (!credential) {
    context_.metrics.add(Counter::TlsDownError);
    log::peer(log::Level::Error, "tls.mint_failed", "no certificate could be made for a client",
              {{"sni", sni}, {"error", credential.error().message()}});
    stream_->abort();
    co_return false;
  }
  context_.metrics.observe(Histogram::LeafMint,
                           std::chrono::duration<double>(exchange::Clock::now() - minting).count());
  tls::ServerSetup setup{&context_.server_tls, std::move(*credential), sni, plan.alpn, plan.policy};
  auto session = tls::TlsSession::accept(std::move(setup));
  if (!session) {
    context_.metrics.add(Counter::TlsDownError);
    stream_->abort();
    co_return false;
  }
  const bool had_left = stream_->has_ended();
  transport_ = std::make_unique<transport::Transport>(std::move(stream_));
  transport_->start_tls(std::move(*session), std::move(received_));
  deadline_.set(context_.limits.tls_timeout);
  auto shaken = co_await transport_->handshake();
  deadline_.clear();
  if (!shaken) {
    planner.record_failure(plan, plan.alpn);
    tell({*transport_->session(), shaken.error(), sni, facts_.flow.client, plan.mirrors, had_left,
          deadline_.is_expired()},
         judge_of(facts_.flow, sni), context_.judgements, context_.metrics);
    transport_->close();
    co_return false;
  }
  if (context_.judgements != nullptr) context_.judgements->took(judge_of(facts_.flow, sni));
  const tls::TlsSession& done = *transport_->session();
  context_.metrics.add(done.resumed() ? Counter::TlsDownResumed : Counter::TlsDownOk);
  facts_.tls.alpn = done.alpn();
  speaks_h2_ = facts_.tls.alpn == "h2";
  facts_.tls.version = done.version() == 0x0304 ? "TLSv1.3" : "TLSv1.2";
  planner.record_failure(plan, facts_.tls.alpn);  // some clients look at the certificate only now
  // What only lacks a SAN is good for clients that need none.
  if (plan.leaf.shape != tls::LeafShape::Good) tell_unverified(sni, facts_.flow.client, plan.mirrors);
  co_return true;
}

}  // namespace tapdeck::server
