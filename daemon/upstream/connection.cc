#include "daemon/upstream/connection.h"

#include <sys/socket.h>

#include <functional>
#include <utility>

#include "daemon/http/h1_codec.h"
#include "daemon/net/deadline.h"

namespace tapdeck::upstream {

size_t KeyHash::operator()(const Key& key) const {
  size_t hash = std::hash<std::string_view>()(
      {reinterpret_cast<const char*>(key.address.address.data()), key.address.address.size()});
  const auto mix = [&hash](size_t value) { hash ^= value + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2); };
  mix(key.address.port);
  mix(key.netns_cookie);
  mix(std::hash<std::string>()(key.server_name));
  mix(std::hash<std::string>()(key.alpn));
  mix(static_cast<size_t>(key.security));
  return hash;
}

Connection::Connection(DialContext& context, Key key, std::unique_ptr<transport::Transport> transport)
    : context_(context),
      key_(std::move(key)),
      transport_(std::move(transport)),
      codec_(http::make_h1_codec(http::Role::Client, context.limits)),
      deadline_(context.executor, [this] { transport_->close(); }) {}

Connection::~Connection() {
  transport_->close();
}

net::Task<Result<void>> Connection::flush() {
  return transport_->flush(codec_->output());
}

net::Task<Result<std::optional<http::Event>>> Connection::next() {
  while (true) {
    auto event = codec_->next();
    if (!event || event->has_value()) co_return event;
    deadline_.set(context_.idle_timeout);
    auto n = co_await transport_->read_some(codec_->input());
    deadline_.clear();
    if (!n) {
      if (deadline_.is_expired()) {
        co_return fail(Code::Timeout, "no byte from " + key_.address.to_string() + " within the idle timeout",
                       Origin::Upstream);
      }
      Error error = n.error();
      error.origin = Origin::Upstream;
      co_return std::unexpected(std::move(error));
    }
    if (*n > 0) continue;
    if (codec_->is_idle()) co_return std::optional<http::Event>{};
    if (transport_->ended_without_notice()) {
      co_return fail(Code::Truncated, key_.address.to_string() + " ended TLS without close_notify", Origin::Upstream);
    }
    CO_TRY_VOID(codec_->end_of_input());
    auto last = codec_->next();
    if (last && !last->has_value()) {
      co_return fail(Code::Truncated, key_.address.to_string() + " closed inside a message", Origin::Upstream);
    }
    co_return last;
  }
}

bool Connection::is_reusable() const {
  return codec_->is_idle() && !codec_->must_close() && codec_->input().empty();
}

namespace {

net::Task<Result<void>> handshake(DialContext& context, Connection& connection,
                                  std::optional<tls::PeerReport>& report) {
  const Key& key = connection.key();
  tls::ClientSetup setup;
  setup.trust = context.trust;
  setup.server_name = key.server_name;
  setup.address = key.address.ip();
  if (!key.alpn.empty()) setup.alpn.push_back(key.alpn);
  setup.cache = context.sessions;
  setup.cache_key =
      std::to_string(key.netns_cookie) + '|' + key.address.to_string() + '|' + key.server_name + '|' + key.alpn;
  CO_TRY(session, tls::TlsSession::connect(std::move(setup)));
  transport::Transport& transport = connection.transport();
  transport.start_tls(std::move(session), ByteQueue());
  net::Deadline deadline(context.executor, [&transport] { transport.close(); });
  deadline.set(context.tls_timeout);
  auto shaken = co_await transport.handshake();
  if (const auto* seen = transport.session()->peer_report()) report = *seen;
  if (deadline.is_expired()) {
    co_return fail(Code::Timeout, "TLS handshake with " + key.address.to_string() + " timed out", Origin::Upstream);
  }
  if (!shaken) {
    Error error = shaken.error();
    error.origin = Origin::Upstream;
    if (error.code != Code::TlsVerify) error.code = Code::Tls;
    error.detail = "TLS with " + key.address.to_string() + ": " + error.detail;
    co_return std::unexpected(std::move(error));
  }
  auto* done = transport.session();
  connection.set_tls({done->version() == 0x0304 ? "TLSv1.3" : "TLSv1.2", std::string(done->alpn()),
                      done->peer_certificate_sha256(), done->certificate_requested()});
  context.metrics->add(done->resumed() ? Counter::TlsUpResumed : Counter::TlsUpOk);
  co_return Result<void>{};
}

}  // namespace

net::Task<Dialed> dial(DialContext& context, Key key) {
  Dialed dialed;
  const int family = key.address.family == Endpoint::Family::V6 ? AF_INET6 : AF_INET;
  auto fd = context.sockets->upstream_socket(key.netns_cookie, family);
  if (!fd) {
    dialed.error = fd.error();
    dialed.error.origin = Origin::Upstream;
    co_return dialed;
  }
  auto stream = std::make_unique<net::Stream>(context.executor, std::move(*fd), Origin::Upstream);
  const auto began = exchange::Clock::now();
  auto connected = co_await net::connect_within(*stream, key.address, context.connect_timeout);
  const auto connected_at = exchange::Clock::now();
  if (!connected) {
    if (connected.error().sys_errno == EADDRNOTAVAIL) context.metrics->add(Counter::PortsExhausted);
    dialed.error = connected.error();
    co_return dialed;
  }
  context.metrics->add(Counter::UpstreamDialed);
  context.metrics->observe(Histogram::UpstreamConnect, std::chrono::duration<double>(connected_at - began).count());
  const bool secure = key.security == Security::Tls;
  auto transport = std::make_unique<transport::Transport>(std::move(stream));
  auto connection = std::make_unique<Connection>(context, std::move(key), std::move(transport));
  connection->connect_time = connected_at - began;
  if (secure) {
    auto shaken = co_await handshake(context, *connection, dialed.report);
    if (!shaken) {
      context.metrics->add(shaken.error().code == Code::TlsVerify ? Counter::TlsUpInvalid : Counter::TlsUpError);
      dialed.error = shaken.error();
      co_return dialed;
    }
    connection->tls_time = exchange::Clock::now() - connected_at;
    context.metrics->observe(Histogram::UpstreamTls, std::chrono::duration<double>(*connection->tls_time).count());
  }
  dialed.connection = std::move(connection);
  co_return dialed;
}

}  // namespace tapdeck::upstream
