#include "daemon/server/connection.h"

#include <algorithm>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/exchange/h2_setup.h"
#include "daemon/http/h1_codec.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/select.h"
#include "daemon/net/offload.h"
#include "daemon/server/bypass.h"

namespace tapdeck::server {

namespace {

http::Limits http_limits(const config::Limits& limits) {
  return {static_cast<size_t>(limits.head_bytes), static_cast<size_t>(limits.headers)};
}

// Never forwards and never dials: what is not on tape is an error.
bool is_sealed_mode(Mode mode) {
  return mode == Mode::Replay;
}

}  // namespace

Connection::Connection(WorkerContext& context, exchange::CapturedFlow flow, std::unique_ptr<net::Stream> stream)
    : context_(context),
      flow_(std::move(flow)),
      stream_(std::move(stream)),
      deadline_(context.executor, [this] { abort(); }) {
  context_.metrics.connection_opened(flow_.path);
}

Connection::~Connection() {
  if (!counted_) count_protocol(ConnectionProtocol::None);
  context_.metrics.connection_closed(flow_.path);
}

void Connection::count_protocol(ConnectionProtocol protocol) {
  counted_ = true;
  context_.metrics.count_connection(flow_.path, protocol, secure_ ? ConnectionTls::Yes : ConnectionTls::No);
}

const modes::TargetState& Connection::target() {
  return context_.view.get().targets[flow_.identity.target];
}

std::string Connection::asked_host() const {
  return flow_.route != nullptr ? flow_.route->host : flow_.destination.ip();
}

bool Connection::is_bypassed(std::string_view host) {
  return any_bypass_matches(target().bypass, host, flow_.destination) ||
         any_bypass_matches(context_.tls.bypass, host, flow_.destination);
}

void Connection::drain() {
  draining_ = true;
  if (session_ != nullptr) {
    session_->drain();
  } else if (!tunnelling_) {
    abort();
  }
}

void Connection::abort() {
  if (session_ != nullptr) session_->abort();
  // A tunnel by a reset: an orderly end would let the client take what it has for all there is.
  if (stream_ != nullptr && tunnelling_) stream_->abort();
  if (stream_ != nullptr) stream_->close();
  if (transport_ != nullptr) transport_->close();
}

net::Task<> Connection::run() {
  if (flow_.to_proxy) {
    const bool tunnelled = co_await begin_proxied();
    if (!tunnelled) co_return;
  }
  auto sniffed = co_await sniff_client();
  if (!sniffed) co_return;
  switch (sniffed->protocol) {
    case Protocol::Tls:
      co_return co_await serve_tls(std::move(sniffed->hello));
    case Protocol::Http1:
    case Protocol::Http2:
      if (is_bypassed(flow_.route != nullptr ? flow_.route->host : std::string())) {
        co_return co_await tunnel(Counter::TunnelledBypass);
      }
      speaks_h2_ = sniffed->protocol == Protocol::Http2;
      // A client that knows beforehand that its origin speaks h2 in clear tells us so as well.
      if (speaks_h2_) tls_.upstream_offer = upstream::kPriorKnowledge;
      transport_ = std::make_unique<transport::Transport>(std::move(stream_));
      co_return co_await serve_http();
    case Protocol::Opaque:
    case Protocol::NeedMore:
      co_return co_await tunnel(Counter::TunnelledNotTls);
  }
}

net::Task<std::optional<Sniffed>> Connection::sniff_client() {
  std::unique_ptr<net::Stream> origin;  // dialled because the client kept silent
  net::Deadline silence(context_.executor, [this] {
    if (stream_ != nullptr) stream_->cancel();
  });
  // Without an origin there is no hurry: a client that is slow to speak may still be on tape.
  const bool may_dial = !is_sealed_mode(target().mode);
  silence.set(may_dial ? context_.limits.sniff_timeout : context_.limits.header_timeout);
  bool tried_origin = false;
  bool came_early = !received_.empty();  // behind a CONNECT
  while (true) {
    Result<size_t> n = received_.size();
    if (!std::exchange(came_early, false)) {
      auto read = co_await stream_->read_some(received_);
      n = read;
    }
    if (!n && silence.is_expired() && received_.empty() && stream_->is_open() && !tried_origin) {
      tried_origin = true;
      if (!may_dial) {
        refuse_opaque(Counter::TunnelledServerFirst);
        co_return std::nullopt;
      }
      origin = co_await reach_plain();
      if (origin == nullptr) {  // who speaks after all may be answered, if only by a 502
        silence.set(context_.limits.header_timeout);
        continue;
      }
      const First first = co_await wait_for_either(*origin);
      if (first == First::Nobody) co_return std::nullopt;
      if (first == First::Origin) {
        co_await tunnel_to(std::move(origin), Counter::TunnelledServerFirst);
        co_return std::nullopt;
      }
      if (flow_.route != nullptr) dialed_ = std::move(origin);
      origin.reset();  // the client speaks after all: its protocol decides how to dial
      continue;
    }
    if (!n && silence.is_expired()) stream_->abort();  // as without us: its origin cannot be reached
    if (!n || *n == 0) co_return std::nullopt;
    silence.clear();
    if (!deadline_.is_expired()) deadline_.set(context_.limits.header_timeout);
    Sniffed sniffed = received_.size() <= ByteQueue::kChunkBytes ? sniff(received_.contiguous(received_.size()))
                                                                 : sniff(received_.to_string());
    if (sniffed.protocol == Protocol::NeedMore && received_.size() <= tls::kMaxPeekBytes) continue;
    deadline_.clear();
    co_return sniffed;
  }
}

net::Task<> Connection::watch(net::Stream& stream, First who, First& first, net::Signal& heard) {
  auto ready = co_await stream.wait_readable();
  if (ready && first == First::Nobody) first = who;
  heard.notify();
}

net::Task<Connection::First> Connection::wait_for_either(net::Stream& origin) {
  First first = First::Nobody;
  net::TaskGroup group(context_.executor);
  net::Signal heard(context_.executor);
  deadline_.set(context_.limits.idle_timeout);
  group.spawn(watch(*stream_, First::Client, first, heard));
  group.spawn(watch(origin, First::Origin, first, heard));
  while (first == First::Nobody && group.size() == 2) co_await heard.wait();
  group.cancel();
  while (group.size() > 0) co_await group.join();
  deadline_.clear();
  co_return first;
}

void Connection::refuse_opaque(Counter reason) {
  ignore(reason, "what it would have been; replay counts it as a miss");
  context_.metrics.add(Counter::MissOpaque);
  context_.metrics.count_request(flow_.identity.label, Mode::Replay, Outcome::Missed, 0);
  log::peer(log::Level::Warn, "replay.opaque", "a flow that cannot be on tape was reset",
            {{"destination", flow_.destination_text()}, {"pid", flow_.identity.pid}, {"comm", flow_.identity.comm}});
  stream_->abort();
}

net::Task<std::unique_ptr<net::Stream>> Connection::reach_plain() {
  if (dialed_ != nullptr) co_return std::move(dialed_);
  const upstream::Key key = asked_key();
  auto connected = co_await upstream::connect_to(context_.dial, key);
  if (connected) co_return std::move(*connected);
  context_.metrics.add(connected.error().code == Code::Timeout ? Counter::UpstreamTimeout : Counter::UpstreamRefused);
  log::peer(log::Level::Info, "tunnel.dial_failed", "the origin of a tunnel could not be reached",
            {{"destination", flow_.destination_text()}, {"error", connected.error().message()}});
  co_return nullptr;
}

net::Task<> Connection::tunnel(Counter reason) {
  if (is_sealed_mode(target().mode)) {
    refuse_opaque(reason);
    co_return;
  }
  auto origin = co_await reach_plain();
  if (origin != nullptr) co_return co_await tunnel_to(std::move(origin), reason);
  stream_->abort();  // the client sees a broken connection, as it would without us
}

net::Task<> Connection::tunnel_to(std::unique_ptr<net::Stream> origin, Counter reason) {
  context_.metrics.add(reason);
  count_protocol(ConnectionProtocol::Tunnel);
  TunnelOptions options = context_.tunnel;
  tunnelling_ = true;
  co_await run_tunnel(*stream_, *origin, std::move(received_), options, context_.metrics);
}

net::Task<> Connection::serve_tls(tls::ClientHello hello) {
  secure_ = true;
  tls_.sni = hello.sni;
  if (is_bypassed(hello.sni.empty() && flow_.route != nullptr ? flow_.route->host : hello.sni)) {
    co_return co_await tunnel(Counter::TunnelledBypass);
  }
  // What the client offers and we have a codec for, in the client's order.
  for (const std::string& protocol : hello.alpn) {
    if (protocol != "h2" && protocol != "http/1.1") continue;
    tls_.client_offer += (tls_.client_offer.empty() ? "" : ",") + protocol;
  }
  const config::Route* route = modes::connection_route(context_.routes, hello.sni.empty() ? asked_host() : hello.sni,
                                                       flow_.destination.port, target().name);
  const auto fixed = modes::upstream_offer_of(route, config::Scheme::Https);
  tls_.upstream_offer = fixed.value_or(tls_.client_offer);
  follows_origin_ = !fixed;
  if (!hello.alpn.empty() && tls_.client_offer.empty()) co_return co_await tunnel(Counter::TunnelledAlpn);
  auto plan = co_await plan_tls(hello);
  if (!plan) co_return;
  Intercept intercept = std::move(*plan);
  const bool accepted = co_await accept_tls(std::move(intercept), hello);
  if (accepted) co_await serve_http();
}

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
  const bool intercept = co_await learn_upstream(hello, plan);
  if (!intercept) {
    co_await tunnel(Counter::TunnelledClientCert);
    co_return std::nullopt;
  }
  co_return plan;
}

// Dials and verifies before the client's handshake ends, unless that was done a moment ago. False: tunnel it.
net::Task<bool> Connection::learn_upstream(const tls::ClientHello& hello, Intercept& plan) {
  upstream::Key key{flow_.identity.netns_cookie, flow_.destination, {},
                    upstream::Security::Tls,     hello.sni,         tls_.upstream_offer};
  modes::follow_route(key, flow_);
  park_dialed();
  const upstream::Verdict* verdict = context_.pool.recent(key);
  if (verdict == nullptr) {
    deadline_.clear();
    auto acquired = co_await context_.pool.acquire(key, upstream::Fresh::No);
    const bool stale = acquired.lane != nullptr && acquired.lane->reused && context_.pool.recent(key) == nullptr;
    context_.pool.give_back(std::move(acquired.lane));
    if (stale) {  // an old connection proves nothing about today's certificate
      auto fresh = co_await context_.pool.acquire(key, upstream::Fresh::Yes);
      context_.pool.give_back(std::move(fresh.lane));
    }
    verdict = context_.pool.recent(key);
    // An origin that cannot be reached is told to the client as a 502, over a handshake with an ordinary leaf; in
    // hybrid mode the tape may know its answers, and what it spoke.
    if (verdict == nullptr) {
      const std::string host = hello.sni.empty() ? asked_host() : hello.sni;
      if (may_answer_from_tape()) co_await learn_from_tape(host, plan);
      co_return true;
    }
  }
  if (verdict->certificate_requested) co_return false;  // only the client can answer that
  if (!verdict->failure) {
    tls_.upstream_verify = "ok";
    tls_.upstream_alpn = verdict->alpn;
    tls_.upstream_version = verdict->version;
    tls_.upstream_certificate = verdict->certificate;
    if (follows_origin_) plan.alpn = verdict->alpn;  // the client is told what the origin speaks
    co_return true;
  }
  tls_.upstream_verify = tls::to_string(verdict->failure->failure);
  if (context_.tls.on_bad_upstream == config::OnBadUpstream::Mirror) {
    const std::string host = hello.sni.empty() ? asked_host() : hello.sni;
    plan.leaf = tls::mirror_leaf(host, *verdict->failure, tls::system_now());
    plan.policy += '|' + tls_.upstream_verify;
    plan.mirrors = verdict->failure->detail.empty() ? tls_.upstream_verify : verdict->failure->detail;
  }
  co_return true;
}

// What the origin spoke, and how it failed, from the session: replay dials nobody.
net::Task<> Connection::learn_from_tape(const std::string& host, Intercept& plan) {
  if (context_.store == nullptr) co_return;
  const store::ExchangeStore* store = context_.store;
  const std::string session = target().session;
  const uint16_t port = flow_.destination.port;
  auto read = [store, session, host, port, offer = tls_.client_offer] {
    return store->origin_facts(session, host, port, offer);
  };
  auto known = co_await net::offload(context_.readers, read);
  if (!known || !*known) co_return;
  const store::OriginFacts& facts = **known;
  plan.alpn = follows_origin_ ? replayed_alpn(tls_.client_offer, facts.alpn) : plan.alpn;
  const auto failure = tls::verify_failure_from(facts.verify_failure);
  if (!failure || *failure == tls::VerifyFailure::None) co_return;
  tls::PeerReport report;
  report.failure = *failure;
  plan.leaf = tls::mirror_leaf(host, report, tls::system_now());
  plan.policy += '|' + facts.verify_failure;
  plan.mirrors = facts.verify_failure + ", as recorded";
}

// What the origin spoke, if the client offers it. Else what the client can, best translated: http/1.1 before h2. An
// origin that was recorded without ALPN gives none to a client that needs none.
std::string Connection::replayed_alpn(std::string_view offer, std::string_view recorded) {
  const auto offers = [offer](std::string_view protocol) {
    return ("," + std::string(offer) + ",").contains("," + std::string(protocol) + ",");
  };
  if (!recorded.empty() && offers(recorded)) return std::string(recorded);
  if (offers("http/1.1")) return recorded.empty() ? "" : "http/1.1";
  return offers("h2") ? "h2" : "";
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
  transport_ = std::make_unique<transport::Transport>(std::move(stream_));
  transport_->start_tls(std::move(*session), std::move(received_));
  deadline_.set(context_.limits.tls_timeout);
  auto shaken = co_await transport_->handshake();
  deadline_.clear();
  if (!shaken) {
    const bool rejected = transport_->session()->peer_rejected_certificate();
    const bool mirrored = rejected && !plan.mirrors.empty();
    context_.metrics.add(rejected && !mirrored ? Counter::TlsDownRejectedCa : Counter::TlsDownError);
    if (deadline_.is_expired()) context_.metrics.add(Counter::LimitTlsTimeout);
    if (mirrored) {
      log::peer(log::Level::Warn, "tls.origin_unverified",
                "the origin's certificate does not verify, and the client refuses it as it would without tapdeck "
                "(an origin of your own: --upstream-ca FILE or tls.upstream_ca; one to leave alone: bypass)",
                {{"sni", hello.sni}, {"client", flow_.client.to_string()}, {"failure", plan.mirrors}});
      transport_->close();
      co_return false;
    }
    log::peer(log::Level::Warn, rejected ? "tls.client_rejected_ca" : "tls.client_handshake_failed",
              rejected ? "the client does not trust the tapdeck CA (tapdeck ca show; tapdeck targets says what it saw)"
                       : "a client's TLS handshake failed",
              {{"sni", hello.sni}, {"client", flow_.client.to_string()}, {"error", shaken.error().message()}});
    transport_->close();
    co_return false;
  }
  const tls::TlsSession& done = *transport_->session();
  context_.metrics.add(done.resumed() ? Counter::TlsDownResumed : Counter::TlsDownOk);
  tls_.alpn = done.alpn();
  speaks_h2_ = tls_.alpn == "h2";
  tls_.version = done.version() == 0x0304 ? "TLSv1.3" : "TLSv1.2";
  co_return true;
}

net::Task<> Connection::serve_http() {
  park_dialed();
  count_protocol(speaks_h2_ ? ConnectionProtocol::H2 : ConnectionProtocol::H1);
  const http::Limits limits = http_limits(context_.limits);
  const std::string_view scheme = secure_ ? "https" : "http";
  auto codec = speaks_h2_ ? http::make_h2_codec(http::Role::Server, limits, scheme,
                                                exchange::h2_options(context_.metrics, flow_.client.to_string()))
                          : http::make_h1_codec(http::Role::Server, limits, scheme);
  codec->input().append(std::move(received_));
  SessionContext session_context{context_.executor,
                                 flow_.to_proxy && flow_.route == nullptr ? &context_.proxy_handler : &context_.handler,
                                 &context_.observer,
                                 &context_.metrics,
                                 {context_.limits.header_timeout, context_.limits.idle_timeout,
                                  context_.limits.request_timeout, static_cast<size_t>(context_.limits.body_buffer)}};
  session_ = std::make_unique<Session>(session_context, flow_, tls_, *transport_, std::move(codec));
  if (draining_) session_->drain();
  co_await session_->run();
}

}  // namespace tapdeck::server
