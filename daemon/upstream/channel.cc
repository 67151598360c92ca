#include "daemon/upstream/channel.h"

#include <functional>
#include <tuple>
#include <utility>

#include "daemon/net/deadline.h"
#include "daemon/upstream/connect.h"

namespace tapdeck::upstream {

size_t OriginHash::operator()(const Key& key) const {
  size_t hash = std::hash<std::string_view>()(
      {reinterpret_cast<const char*>(key.address.address.data()), key.address.address.size()});
  const auto mix = [&hash](size_t value) { hash ^= value + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2); };
  mix(key.address.port);
  mix(key.netns_cookie);
  mix(std::hash<std::string>()(key.host));
  mix(std::hash<std::string>()(key.server_name));
  mix(std::hash<std::string>()(key.alpn));
  mix(static_cast<size_t>(key.security));
  return hash;
}

size_t KeyHash::operator()(const Key& key) const {
  return OriginHash()(key) ^ ((key.tenant << 8 | key.target) * 0x9e3779b97f4a7c15ULL);
}

bool SameOrigin::operator()(const Key& left, const Key& right) const {
  const auto origin = [](const Key& key) {
    return std::tie(key.netns_cookie, key.address, key.host, key.security, key.server_name, key.alpn);
  };
  return origin(left) == origin(right);
}

namespace {

std::vector<std::string> split_offer(std::string_view offer) {
  std::vector<std::string> protocols;
  while (!offer.empty()) {
    const size_t comma = std::min(offer.find(','), offer.size());
    protocols.emplace_back(offer.substr(0, comma));
    offer.remove_prefix(std::min(comma + 1, offer.size()));
  }
  return protocols;
}

bool is_without_san(const tls::TlsSession& done, std::string_view name) {
  const tls::PeerReport* report = done.peer_report();
  return !name.empty() && report != nullptr && !report->common_name.empty();
}

net::Task<Result<void>> handshake(DialContext& context, Channel& channel, Dialed& dialed, tls::Resume resume) {
  const Key& key = channel.key;
  tls::ClientSetup setup;
  setup.trust = context.trust;
  setup.server_name = key.server_name;
  setup.address = key.address.ip();
  setup.alpn = split_offer(key.alpn);
  setup.cache = context.sessions;
  setup.cache_key = std::to_string(key.netns_cookie) + '|' + key.where() + '|' + key.server_name + '|' + key.alpn;
  setup.resume = resume;
  CO_TRY(session, tls::TlsSession::connect(std::move(setup)));
  transport::Transport& transport = *channel.transport;
  transport.start_tls(std::move(session), ByteQueue());
  net::Deadline deadline(context.executor, [&transport] { transport.close(); });
  deadline.set(context.tls_timeout);
  auto shaken = co_await transport.handshake();
  if (const auto* seen = transport.session()->peer_report()) dialed.report = *seen;
  dialed.certificate_requested = transport.session()->certificate_requested();
  if (deadline.is_expired()) {
    context.metrics->add(Counter::LimitTlsTimeout);
    co_return fail(Code::Timeout, "TLS handshake with " + key.where() + " timed out", Origin::Upstream);
  }
  if (!shaken && shaken.error().code == Code::Cancelled) co_return std::unexpected(shaken.error());
  if (!shaken) {
    Error error = shaken.error();
    error.origin = Origin::Upstream;
    if (error.code != Code::TlsVerify) error.code = Code::Tls;
    error.detail = "TLS with " + key.where() + ": " + error.detail;
    co_return std::unexpected(std::move(error));
  }
  auto* done = transport.session();
  channel.tls = {done->version() == 0x0304 ? "TLSv1.3" : "TLSv1.2",
                 std::string(done->alpn()),
                 done->peer_certificate_sha256(),
                 done->certificate_requested(),
                 is_without_san(*done, key.server_name),
                 done->resumed()};
  context.metrics->add(done->resumed() ? Counter::TlsUpResumed : Counter::TlsUpOk);
  co_return Result<void>{};
}

}  // namespace

net::Task<Dialed> dial(DialContext& context, Key key, tls::Resume resume) {
  Dialed dialed;
  const auto began = exchange::Clock::now();
  auto connected = co_await connect_to(context, key);
  const auto connected_at = exchange::Clock::now();
  if (!connected) {
    dialed.error = connected.error();
    co_return dialed;
  }
  context.metrics->add(Counter::UpstreamDialed);
  context.metrics->observe(Histogram::UpstreamConnect, std::chrono::duration<double>(connected_at - began).count());
  Channel channel;
  channel.key = std::move(key);
  channel.transport = std::make_unique<transport::Transport>(std::move(*connected));
  channel.connect_time = connected_at - began;
  if (channel.key.security == Security::Tls) {
    auto shaken = co_await handshake(context, channel, dialed, resume);
    if (!shaken && shaken.error().code == Code::Cancelled) {
      dialed.error = shaken.error();  // whoever wanted it has left: no failure of the origin
      co_return dialed;
    }
    if (!shaken) {
      context.metrics->add(shaken.error().code == Code::TlsVerify ? Counter::TlsUpInvalid : Counter::TlsUpError);
      dialed.error = shaken.error();
      co_return dialed;
    }
    channel.tls_time = exchange::Clock::now() - connected_at;
    context.metrics->observe(Histogram::UpstreamTls, std::chrono::duration<double>(*channel.tls_time).count());
  }
  dialed.channel = std::move(channel);
  co_return dialed;
}

}  // namespace tapdeck::upstream
