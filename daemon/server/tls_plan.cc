#include "daemon/server/tls_plan.h"

#include <utility>

#include "daemon/net/offload.h"
#include "daemon/server/handshake_failure.h"
#include "store/client_certificates.h"

namespace tapdeck::server {
namespace {

bool has_failed(const store::OriginFacts& facts) {
  return tls::report_from(facts.verify_failure).has_value();
}

// Its certificate was seen and found good. A session also knows origins that never answered.
bool was_verified(const store::OriginFacts& facts) {
  return !facts.peer_certificate_sha256.empty() && !has_failed(facts);
}

}  // namespace

net::Task<std::optional<TlsPlan>> TlsPlanner::make() {
  TlsPlan plan;
  plan.leaf = tls::leaf_for(facts_.host());
  plan.alpn = facts_.tls.client_offer.substr(0, facts_.tls.client_offer.find(','));
  const Mode mode = facts_.target().mode;
  plan.policy = std::string(to_string(mode)) + '|' + facts_.target().session;
  if (mode == Mode::Replay) {
    co_await learn_from_tape(plan);
    co_return plan;
  }
  if (may_spare_dial()) {
    const auto recorded = co_await recorded_facts();
    if (recorded && was_verified(*recorded)) {  // one that failed then may have been mended
      follow_tape(*recorded, plan);
      co_return plan;
    }
  }
  const bool intercept = co_await learn_upstream(plan);
  if (intercept) co_return plan;
  note_certificate_request();
  co_return std::nullopt;
}

// For replay, which can say no more of it.
void TlsPlanner::note_certificate_request() const {
  const auto take = facts_.open_take();
  if (!take) return;
  facts_.record(store::certificate_request_write(*take, facts_.host(), facts_.flow.destination.port));
}

// The tape decides about a handshake as long as it knows the origin: hybrid mode, unless its route only forwards.
bool TlsPlanner::may_spare_dial() const {
  const config::Route* found = facts_.route();
  const bool forwards =
      found != nullptr && found->mode && (*found->mode == Mode::Record || *found->mode == Mode::Passthrough);
  // What was seen a moment ago counts for more than the tape.
  return facts_.target().mode == Mode::Hybrid && !forwards && facts_.worker.pool.recent(facts_.tls_key()) == nullptr;
}

// Dials and verifies before the client's handshake ends, unless that was done a moment ago.
net::Task<bool> TlsPlanner::learn_upstream(TlsPlan& plan) {
  upstream::Pool& pool = facts_.worker.pool;
  const upstream::Key key = facts_.tls_key();
  origin_.park();
  const upstream::Verdict* verdict = pool.recent(key);
  std::optional<upstream::Verdict> seen;
  if (verdict == nullptr) {
    const upstream::Asker asker{facts_.flow.connection};
    auto acquired = co_await pool.acquire(key, upstream::Fresh::No, asker);
    const bool stale = acquired.lane != nullptr && acquired.lane->reused && pool.recent(key) == nullptr;
    origin_.keep_or_share(std::move(acquired.lane));
    seen = std::move(acquired.verdict);
    if (stale) {  // an old connection proves nothing about today's certificate
      auto fresh = co_await pool.acquire(key, upstream::Fresh::Yes, asker);
      if (fresh.lane == nullptr) acquired.error = std::move(fresh.error);
      origin_.keep_or_share(std::move(fresh.lane));
      seen = std::move(fresh.verdict);
    }
    verdict = pool.recent(key);
    if (verdict == nullptr && seen) verdict = &*seen;  // it counts for no other
    // An origin that cannot be reached is told to the client as a 502, over a handshake with an ordinary leaf, without
    // dialling it again; in hybrid mode the tape may know its answers, and what it spoke.
    if (verdict == nullptr) {
      pool.expect_failure(key, facts_.flow.connection, std::move(acquired.error));
      if (facts_.may_answer_from_tape()) co_await learn_from_tape(plan);
      co_return true;
    }
  }
  if (verdict->certificate_requested) co_return false;
  // Who asks for something all the same is told so without another dial. What others saw may have been mended since.
  if (seen && seen->failure) pool.expect_failure(key, facts_.flow.connection, seen->error);
  follow_verdict(*verdict, plan);
  co_return true;
}

void TlsPlanner::follow_verdict(const upstream::Verdict& verdict, TlsPlan& plan) {
  exchange::TlsFacts& tls = facts_.tls;
  if (verdict.failure) {
    tls.upstream_verify = tls::failures_of(*verdict.failure);
    const std::string& told = verdict.failure->detail.empty() ? tls.upstream_verify : verdict.failure->detail;
    if (!mirror(*verdict.failure, tls.upstream_verify, plan)) {
      tell_unverified_by_answer(tls.sni, facts_.flow.client, told);
      return;
    }
    plan.mirrors = told;
    plan.is_live = true;
    return;
  }
  tls.upstream_verify = verdict.is_without_san ? std::string(tls::kNoSan) : "ok";
  if (verdict.is_without_san) {
    show_no_san(plan);
    plan.is_live = true;
  }
  tls.upstream_alpn = verdict.alpn;
  tls.upstream_version = verdict.version;
  tls.upstream_certificate = verdict.certificate;
  if (facts_.follows_origin) plan.alpn = verdict.alpn;  // the client is told what the origin speaks
}

// False: such failures are shown to nobody.
bool TlsPlanner::mirror(const tls::PeerReport& failure, const std::string& text, TlsPlan& plan) const {
  if (facts_.worker.tls.on_bad_upstream != config::OnBadUpstream::Mirror) return false;
  plan.leaf = tls::mirror_leaf(facts_.host(), failure, tls::system_now());
  plan.policy += '|' + text;
  return true;
}

// Clients that take a common name for a host name accept the leaf, those that do not refuse it, as the origin's.
void TlsPlanner::show_no_san(TlsPlan& plan) const {
  plan.leaf = tls::leaf_without_san(facts_.host());
  plan.mirrors = "its certificate has no subject alternative name";
}

// What the origin spoke, and how it failed, from the session: replay dials nobody.
net::Task<> TlsPlanner::learn_from_tape(TlsPlan& plan) {
  const auto recorded = co_await recorded_facts();
  if (recorded) follow_tape(*recorded, plan);
}

net::Task<std::optional<store::OriginFacts>> TlsPlanner::recorded_facts() {
  const store::ExchangeStore* store = facts_.worker.store;
  if (store == nullptr) co_return std::nullopt;
  auto read = [store, session = facts_.target().session, host = facts_.host(), port = facts_.flow.destination.port,
               offer = facts_.tls.client_offer] { return store->origin_facts(session, host, port, offer); };
  auto known = co_await net::offload(facts_.worker.readers, read);
  if (!known) co_return std::nullopt;
  co_return std::move(*known);
}

void TlsPlanner::follow_tape(const store::OriginFacts& recorded, TlsPlan& plan) const {
  if (facts_.follows_origin) plan.alpn = replayed_alpn(facts_.tls.client_offer, recorded);
  if (recorded.verify_failure == tls::kNoSan) show_no_san(plan);
  const auto failure = tls::report_from(recorded.verify_failure);
  if (!failure || !mirror(*failure, recorded.verify_failure, plan)) return;
  plan.mirrors = recorded.verify_failure + ", as recorded";
}

std::string replayed_alpn(std::string_view offer, const store::OriginFacts& recorded) {
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

void TlsPlanner::record_failure(const TlsPlan& plan, std::string_view agreed) const {
  const auto take = facts_.open_take();
  if (!plan.is_live || !take) return;
  store::OriginFacts seen;
  seen.tls_version = facts_.tls.version;
  seen.verify_failure = facts_.tls.upstream_verify;
  // In hybrid mode a failure hides nothing that is on the tape.
  const bool is_learned = facts_.target().mode == Mode::Record;
  store::AlpnChoice alpn{facts_.tls.client_offer, std::string(agreed), is_learned};
  facts_.record(store::origin_write(*take, facts_.host(), facts_.flow.destination.port, seen, std::move(alpn)));
}

}  // namespace tapdeck::server
