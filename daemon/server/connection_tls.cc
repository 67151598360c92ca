// Connection's part for clients that begin with a ClientHello: what the origin is like, the certificate to show, the
// handshake.
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
  secure_ = true;
  first_byte_.reset();  // it was one of the ClientHello
  opening_.reset();     // as was the silence before it
  tls_.sni = hello.sni;
  if (is_bypassed(hello.sni.empty() && flow_.route != nullptr ? flow_.route->host : hello.sni)) {
    co_return co_await tunnel(Counter::TunnelledBypass);
  }
  // What the client offers and we have a codec for, in the client's order.
  for (const std::string& protocol : hello.alpn) {
    if (protocol != "h2" && protocol != "http/1.1" && protocol != "http/1.0") continue;
    tls_.client_offer += (tls_.client_offer.empty() ? "" : ",") + protocol;
  }
  const auto fixed = modes::upstream_offer_of(route(), config::Scheme::Https);
  tls_.upstream_offer = fixed.value_or(tls_.client_offer);
  follows_origin_ = !fixed;
  if (!hello.alpn.empty() && tls_.client_offer.empty()) co_return co_await tunnel(Counter::TunnelledAlpn);
  auto plan = co_await plan_tls(hello);
  if (!plan) co_return;
  Intercept intercept = std::move(*plan);
  const bool accepted = co_await accept_tls(std::move(intercept), hello);
  if (!accepted) co_return;
  if (!is_http_by_alpn()) {
    auto sniffed = co_await sniff_client();
    if (!sniffed) co_return;
    if (sniffed->protocol != Protocol::Http1) co_return co_await tunnel(Counter::TunnelledNotHttp);
  }
  co_await serve_http();
}

namespace {

bool has_failed(const store::OriginFacts& facts) {
  return tls::report_from(facts.verify_failure).has_value();
}

// Its certificate was seen and found good. A session also knows origins that never answered.
bool was_verified(const store::OriginFacts& facts) {
  return !facts.peer_certificate_sha256.empty() && !has_failed(facts);
}

}  // namespace

net::Task<std::optional<Connection::Intercept>> Connection::plan_tls(const tls::ClientHello& hello) {
  Intercept plan;
  const std::string host = hello.sni.empty() ? asked_host() : hello.sni;
  plan.leaf = tls::leaf_for(host);
  plan.alpn = tls_.client_offer.substr(0, tls_.client_offer.find(','));
  const Mode mode = target().mode;
  plan.policy = std::string(to_string(mode)) + '|' + target().session;
  if (mode == Mode::Replay) {
    co_await learn_from_tape(host, plan);
    co_return plan;
  }
  if (may_spare_dial()) {
    const auto facts = co_await recorded_facts(host);
    if (facts && was_verified(*facts)) {  // one that failed then may have been mended
      follow_tape(host, *facts, plan);
      co_return plan;
    }
  }
  const bool intercept = co_await learn_upstream(hello, plan);
  if (!intercept) {
    note_certificate_request(host);
    co_await tunnel(Counter::TunnelledClientCert);
    co_return std::nullopt;
  }
  co_return plan;
}

// For replay, which can say no more of it.
void Connection::note_certificate_request(const std::string& host) {
  const store::Take* take = open_take();
  if (take == nullptr) return;
  std::vector<store::PendingWrite> writes;
  writes.push_back(store::certificate_request_write(*take, host, flow_.destination.port));
  context_.link->add(writes);
}

bool Connection::may_spare_dial() {
  const config::Route* found = route();
  const bool forwards =
      found != nullptr && found->mode && (*found->mode == Mode::Record || *found->mode == Mode::Passthrough);
  // What was seen a moment ago counts for more than the tape.
  return target().mode == Mode::Hybrid && !forwards && context_.pool.recent(tls_key()) == nullptr;
}

upstream::Key Connection::tls_key() const {
  upstream::Key key{flow_.identity.netns_cookie, flow_.destination, {},
                    upstream::Security::Tls,     tls_.sni,          tls_.upstream_offer};
  key.target = flow_.identity.target;
  key.tenant = flow_.identity.tenant;
  modes::follow_route(key, flow_);
  return key;
}

// Dials and verifies before the client's handshake ends, unless that was done a moment ago. False: tunnel it.
net::Task<bool> Connection::learn_upstream(const tls::ClientHello& hello, Intercept& plan) {
  const upstream::Key key = tls_key();
  const std::string host = hello.sni.empty() ? asked_host() : hello.sni;
  park_dialed();
  const upstream::Verdict* verdict = context_.pool.recent(key);
  std::optional<upstream::Verdict> seen;
  if (verdict == nullptr) {
    deadline_.clear();
    const upstream::Asker asker{flow_.connection};
    auto acquired = co_await context_.pool.acquire(key, upstream::Fresh::No, asker);
    const bool stale = acquired.lane != nullptr && acquired.lane->reused && context_.pool.recent(key) == nullptr;
    keep_learned(std::move(acquired.lane));
    seen = std::move(acquired.verdict);
    if (stale) {  // an old connection proves nothing about today's certificate
      auto fresh = co_await context_.pool.acquire(key, upstream::Fresh::Yes, asker);
      if (fresh.lane == nullptr) acquired.error = std::move(fresh.error);
      keep_learned(std::move(fresh.lane));
      seen = std::move(fresh.verdict);
    }
    verdict = context_.pool.recent(key);
    if (verdict == nullptr && seen) verdict = &*seen;  // it counts for no other
    // An origin that cannot be reached is told to the client as a 502, over a handshake with an ordinary leaf, without
    // dialling it again; in hybrid mode the tape may know its answers, and what it spoke.
    if (verdict == nullptr) {
      context_.pool.expect_failure(key, flow_.connection, std::move(acquired.error));
      if (may_answer_from_tape()) co_await learn_from_tape(host, plan);
      co_return true;
    }
  }
  if (verdict->certificate_requested) co_return false;  // only the client can answer that
  if (!verdict->failure) {
    tls_.upstream_verify = verdict->is_without_san ? std::string(tls::kNoSan) : "ok";
    if (verdict->is_without_san) {
      show_no_san(host, plan);
      plan.is_live = true;
    }
    tls_.upstream_alpn = verdict->alpn;
    tls_.upstream_version = verdict->version;
    tls_.upstream_certificate = verdict->certificate;
    if (follows_origin_) plan.alpn = verdict->alpn;  // the client is told what the origin speaks
    co_return true;
  }
  tls_.upstream_verify = tls::failures_of(*verdict->failure);
  if (context_.tls.on_bad_upstream == config::OnBadUpstream::Mirror) {
    plan.leaf = tls::mirror_leaf(host, *verdict->failure, tls::system_now());
    plan.policy += '|' + tls_.upstream_verify;
    plan.mirrors = verdict->failure->detail.empty() ? tls_.upstream_verify : verdict->failure->detail;
    plan.is_live = true;
  }
  co_return true;
}

// Clients that take a common name for a host name accept the leaf, those that do not refuse it, as the origin's.
void Connection::show_no_san(const std::string& host, Intercept& plan) {
  plan.leaf = tls::leaf_without_san(host);
  plan.mirrors = "its certificate has no subject alternative name";
}

// What the origin spoke, and how it failed, from the session: replay dials nobody.
net::Task<> Connection::learn_from_tape(const std::string& host, Intercept& plan) {
  const auto facts = co_await recorded_facts(host);
  if (facts) follow_tape(host, *facts, plan);
}

net::Task<std::optional<store::OriginFacts>> Connection::recorded_facts(const std::string& host) {
  if (context_.store == nullptr) co_return std::nullopt;
  const store::ExchangeStore* store = context_.store;
  const std::string session = target().session;
  const uint16_t port = flow_.destination.port;
  auto read = [store, session, host, port, offer = tls_.client_offer] {
    return store->origin_facts(session, host, port, offer);
  };
  auto known = co_await net::offload(context_.readers, read);
  if (!known) co_return std::nullopt;
  co_return std::move(*known);
}

void Connection::follow_tape(const std::string& host, const store::OriginFacts& facts, Intercept& plan) {
  if (follows_origin_) plan.alpn = replayed_alpn(tls_.client_offer, facts);
  if (facts.verify_failure == tls::kNoSan) show_no_san(host, plan);
  if (!has_failed(facts) || context_.tls.on_bad_upstream != config::OnBadUpstream::Mirror) return;
  plan.leaf = tls::mirror_leaf(host, *tls::report_from(facts.verify_failure), tls::system_now());
  plan.policy += '|' + facts.verify_failure;
  plan.mirrors = facts.verify_failure + ", as recorded";
}

// What the origin spoke, if the client offers it. Else what the client can, best translated: http/1.1 before h2. An
// origin that was recorded without ALPN gives none to a client that needs none, or that got none then.
std::string Connection::replayed_alpn(std::string_view offer, const store::OriginFacts& recorded) {
  const auto offers = [offer](std::string_view protocol) {
    return ("," + std::string(offer) + ",").contains("," + std::string(protocol) + ",");
  };
  if (!recorded.alpn.empty() && offers(recorded.alpn)) return recorded.alpn;
  if (recorded.alpn.empty() && recorded.is_of_offer) return "";
  for (const char* h1 : {"http/1.1", "http/1.0"}) {
    if (offers(h1)) return recorded.alpn.empty() ? "" : h1;
  }
  return offers("h2") ? "h2" : "";
}

void Connection::record_failure(const std::string& host, const Intercept& plan, std::string_view agreed) {
  const store::Take* take = open_take();
  if (!plan.is_live || take == nullptr) return;
  store::OriginFacts facts;
  facts.tls_version = tls_.version;
  facts.verify_failure = tls_.upstream_verify;
  // In hybrid mode a failure hides nothing that is on the tape.
  store::AlpnChoice alpn{tls_.client_offer, std::string(agreed), target().mode == Mode::Record};
  std::vector<store::PendingWrite> writes;
  writes.push_back(store::origin_write(*take, host, flow_.destination.port, facts, std::move(alpn)));
  context_.link->add(writes);
}

net::Task<bool> Connection::accept_tls(Intercept plan, const tls::ClientHello& hello) {
  const auto minting = exchange::Clock::now();
  auto credential = context_.leaves.get(plan.leaf);
  if (!credential) {
    context_.metrics.add(Counter::TlsDownError);
    log::peer(log::Level::Error, "tls.mint_failed", "no certificate could be made for a client",
              {{"sni", hello.sni}, {"error", credential.error().message()}});
    stream_->abort();
    co_return false;
  }
  context_.metrics.observe(Histogram::LeafMint,
                           std::chrono::duration<double>(exchange::Clock::now() - minting).count());
  tls::ServerSetup setup{&context_.server_tls, std::move(*credential), hello.sni, plan.alpn, plan.policy};
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
  const std::string host = hello.sni.empty() ? asked_host() : hello.sni;
  if (!shaken) {
    record_failure(host, plan, plan.alpn);
    tell({*transport_->session(), shaken.error(), hello.sni, flow_.client, plan.mirrors, had_left,
          deadline_.is_expired()},
         judge_of(flow_, hello.sni), context_.judgements, context_.metrics);
    transport_->close();
    co_return false;
  }
  if (context_.judgements != nullptr) context_.judgements->took(judge_of(flow_, hello.sni));
  const tls::TlsSession& done = *transport_->session();
  context_.metrics.add(done.resumed() ? Counter::TlsDownResumed : Counter::TlsDownOk);
  tls_.alpn = done.alpn();
  speaks_h2_ = tls_.alpn == "h2";
  tls_.version = done.version() == 0x0304 ? "TLSv1.3" : "TLSv1.2";
  record_failure(host, plan, tls_.alpn);  // some clients look at the certificate only now
  co_return true;
}

}  // namespace tapdeck::server
