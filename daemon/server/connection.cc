#include "daemon/server/connection.h"

#include <algorithm>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/exchange/h2_setup.h"
#include "daemon/http/h1_codec.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/select.h"
#include "daemon/server/dead_clients.h"

namespace tapdeck::server {

namespace {

http::Limits http_limits(const config::Limits& limits) {
  return {static_cast<size_t>(limits.head_bytes), static_cast<size_t>(limits.headers)};
}

// Both outlive the codec.
http::H2Options h2_options(WorkerContext& context, const FlowFacts& facts) {
  http::H2Options options =
      exchange::h2_options(context.metrics, facts.flow.client.to_string(), context.limits.h2_streams);
  options.on_too_large = [&context, &facts](const Error& error) {
    context.observer.refused(facts.flow, facts.tls, error);
    if (const auto counter = exchange::refusal_counter_of(error)) context.metrics.add(*counter);
  };
  return options;
}

}  // namespace

Connection::Connection(WorkerContext& context, exchange::CapturedFlow flow, std::unique_ptr<net::Stream> stream)
    : context_(context),
      facts_(context, std::move(flow)),
      origin_(facts_),
      stream_(std::move(stream)),
      deadline_(context.executor, [this] { abort(); }) {
  if (!facts_.flow.is_nested) context_.metrics.connection_opened(facts_.flow.path);
}

Connection::~Connection() {
  if (!counted_) count_protocol(ConnectionProtocol::None);
  if (!facts_.flow.is_nested) context_.metrics.connection_closed(facts_.flow.path);
}

void Connection::count_protocol(ConnectionProtocol protocol) {
  counted_ = true;
  if (facts_.flow.is_nested) return;
  context_.metrics.count_connection(facts_.flow.path, protocol, facts_.secure ? ConnectionTls::Yes : ConnectionTls::No);
}

void Connection::drain() {
  draining_ = true;
  if (session_ != nullptr) {
    session_->drain();
  } else if (!tunnelling_) {
    if (transport_ != nullptr) transport_->end_output();  // behind its handshake a client is told by TLS
    abort();
  }
}

bool Connection::drop_left() {
  if (session_ != nullptr) session_->drop_left();
  return session_ == nullptr && tunnelling_ && client().has_ended();
}

void Connection::mark_client_dead() {
  client_is_dead_ = true;
  if (stream_ != nullptr || transport_ != nullptr) ask_whether_it_is_there(client().native_handle());
}

bool Connection::drop_dead() {
  if (stream_ == nullptr && transport_ == nullptr) return false;
  if (!is_out_of_reach(client().native_handle())) return drop_left();
  if (session_ != nullptr) session_->drop();
  return session_ == nullptr && tunnelling_;
}

void Connection::let_go() {
  if (session_ != nullptr) session_->drain();
}

void Connection::reset_tunnel() {
  if (!facts_.is_sealed()) return;
  const size_t inside = session_ != nullptr ? session_->reset_tunnels() : 0;
  for (size_t i = 0; i < inside + (tunnelling_ ? 1 : 0); ++i) {
    miss_opaque("a tunnel was reset: its target is replayed from now on");
  }
  if (tunnelling_) abort();
}

void Connection::abort() {
  if (session_ != nullptr) session_->abort();
  // A tunnel by a reset: an orderly end would let the client take what it has for all there is.
  if (tunnelling_) client().abort();
  if (stream_ != nullptr) stream_->close();
  if (transport_ != nullptr) transport_->close();
}

net::Task<> Connection::run() {
  if (facts_.flow.to_proxy) {
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
      if (facts_.is_bypassed(facts_.flow.route != nullptr ? facts_.flow.route->host : std::string())) {
        co_return co_await tunnel(Counter::TunnelledBypass);
      }
      speaks_h2_ = sniffed->protocol == Protocol::Http2;
      // A client that knows beforehand that its origin speaks h2 in clear tells us so as well.
      if (speaks_h2_) facts_.tls.upstream_offer = upstream::kPriorKnowledge;
      transport_ = std::make_unique<transport::Transport>(std::move(stream_));
      co_return co_await serve_http();
    case Protocol::Opaque:
    case Protocol::NeedMore:
      co_return co_await tunnel(Counter::TunnelledNotTls);
  }
}

void Connection::refuse_opaque(std::string_view why) {
  miss_opaque(why);
  client().abort();
}

void Connection::miss_opaque(std::string_view what) {
  context_.metrics.add(facts_.flow.identity.label, Counter::MissOpaque);
  context_.metrics.count_request(facts_.flow.identity.label, Mode::Replay, Outcome::Missed, 0);
  if (context_.misses != nullptr) context_.misses->add({"", facts_.flow.destination_text(), std::string(what)});
  log::peer(log::Level::Warn, "replay.opaque", what,
            {{"destination", facts_.flow.destination_text()},
             {"pid", facts_.flow.identity.pid},
             {"comm", facts_.flow.identity.comm}});
}

void Connection::end_silent() {
  context_.metrics.add(Counter::LimitIdleTimeout);
  if (transport_ != nullptr) transport_->end_output();
}

net::Task<> Connection::tunnel(Counter reason) {
  if (facts_.is_sealed()) {
    refuse_opaque(reason == Counter::TunnelledBypass ? kBypassed : kOpaque);
    co_return;
  }
  if (transport_ != nullptr) co_return co_await tunnel_decrypted(reason);
  origin_.drop_lane();  // the client makes its own TLS connection
  auto origin = co_await origin_.reach_plain();
  if (origin != nullptr) co_return co_await tunnel_to(std::move(origin), reason);
  context_.metrics.add(Counter::TunnelsFailed);
  stream_->abort();  // the client sees a broken connection, as it would without us
}

void Connection::begin_tunnel(Counter reason) {
  context_.metrics.add(reason);
  count_protocol(ConnectionProtocol::Tunnel);
  tunnelling_ = true;
}

// The mode may have changed while the origin was reached or listened to.
net::Task<> Connection::tunnel_to(std::unique_ptr<net::Stream> origin, Counter reason) {
  if (facts_.is_sealed()) {
    refuse_opaque();
    co_return;
  }
  begin_tunnel(reason);
  TunnelOptions options = context_.tunnel;
  options.client_has_ended = client_ended_;
  co_await run_tunnel(*stream_, *origin, std::move(received_), options, context_.metrics);
}

net::Task<> Connection::serve_http() {
  origin_.share();
  count_protocol(speaks_h2_ ? ConnectionProtocol::H2 : ConnectionProtocol::H1);
  const http::Limits limits = http_limits(context_.limits);
  const std::string_view scheme = facts_.secure ? "https" : "http";
  auto codec = speaks_h2_ ? http::make_h2_codec(http::Role::Server, limits, scheme, h2_options(context_, facts_))
                          : http::make_h1_codec(http::Role::Server, limits, scheme);
  codec->input().append(std::move(received_));
  SessionContext session_context{
      context_.executor,
      facts_.flow.to_proxy && facts_.flow.route == nullptr ? &context_.proxy_handler : &context_.handler,
      &context_.observer,
      &context_.metrics,
      {context_.limits.header_timeout, context_.limits.idle_timeout, context_.limits.request_timeout,
       static_cast<size_t>(context_.limits.body_buffer)},
      first_byte_};
  session_ = std::make_unique<Session>(session_context, facts_.flow, facts_.tls, *transport_, std::move(codec));
  if (draining_) session_->drain();
  co_await session_->run();
}

}  // namespace tapdeck::server
