#include "daemon/server/connection.h"

#include <algorithm>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/exchange/h2_setup.h"
#include "daemon/http/h1_codec.h"
#include "daemon/modes/origin.h"
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

void Connection::let_go() {
  if (session_ != nullptr) session_->drain();
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

net::Task<> Connection::serve_http() {
  park_dialed();
  count_protocol(speaks_h2_ ? ConnectionProtocol::H2 : ConnectionProtocol::H1);
  const http::Limits limits = http_limits(context_.limits);
  const std::string_view scheme = secure_ ? "https" : "http";
  auto codec = speaks_h2_ ? http::make_h2_codec(http::Role::Server, limits, scheme,
                                                exchange::h2_options(context_.metrics, flow_.client.to_string(),
                                                                     context_.limits.h2_streams))
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
