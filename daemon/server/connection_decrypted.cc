// Connection's part for clients whose TLS carries something else than HTTP: SMTP, IMAP, Redis, MQTT, LDAP and the like
// offer no ALPN, so what they speak shows only behind the handshake. It is handed on, by way of the origin's verified
// TLS connection.
#include <utility>

#include "daemon/server/connection.h"
#include "daemon/server/tls_tunnel.h"

namespace tapdeck::server {

net::Task<> Connection::hear(transport::Transport& side, ByteQueue& bytes, Said& said, net::Signal& changed) {
  auto n = co_await side.read_some(bytes);
  if (n) {
    said = *n > 0 ? Said::Bytes : Said::End;
  } else if (n.error().code != Code::Cancelled) {
    said = Said::Failure;
  }
  changed.notify();
}

// By what was said, not by what can be read: a server's session tickets are no greeting.
net::Task<Connection::Heard> Connection::hear_both_decrypted() {
  auto lane = co_await origin_.reach_tls();
  if (lane == nullptr) co_return Heard::NoOrigin;
  transport::Transport& origin = *lane->channel().transport;
  ByteQueue greeting;
  Said of_client = Said::Nothing;
  Said of_origin = Said::Nothing;
  net::TaskGroup group(context_.executor);
  net::Signal changed(context_.executor);
  deadline_.set(context_.limits.idle_timeout);
  group.spawn(hear(*transport_, received_, of_client, changed));
  group.spawn(hear(origin, greeting, of_origin, changed));
  while (of_client == Said::Nothing && of_origin == Said::Nothing && group.size() == 2) co_await changed.wait();
  group.cancel();
  co_await group.join();
  end_listening();
  const bool origin_is_over = of_origin == Said::End || of_origin == Said::Failure;
  // An idle connection that its origin gave up is not where a request goes that came at the same time.
  if (of_client == Said::Bytes && origin_is_over) co_return Heard::Client;
  if (of_client == Said::Failure || of_origin == Said::Failure) {
    transport_->abort();
    origin.abort();
    co_return Heard::Over;
  }
  if (of_origin != Said::Nothing) {
    if (of_origin == Said::Bytes) note_greeting();
    co_await tunnel_decrypted_to(std::move(lane), std::move(greeting), Counter::TunnelledServerFirst);
    co_return Heard::Over;
  }
  if (of_client == Said::Nothing) co_return Heard::Over;
  origin_.keep(std::move(lane));
  co_return Heard::Client;
}

net::Task<> Connection::tunnel_decrypted(Counter reason) {
  auto lane = co_await origin_.reach_tls();
  if (lane != nullptr) co_return co_await tunnel_decrypted_to(std::move(lane), ByteQueue(), reason);
  context_.metrics.add(Counter::TunnelsFailed);
  client().abort();
}

// As tunnel_to().
net::Task<> Connection::tunnel_decrypted_to(std::unique_ptr<upstream::Lane> origin, ByteQueue greeting,
                                            Counter reason) {
  if (facts_.is_sealed()) {
    refuse_opaque();
    co_return;
  }
  begin_tunnel(reason);
  EarlyBytes early{std::move(received_), std::move(greeting)};
  co_await run_tls_tunnel(*transport_, *origin->channel().transport, std::move(early), context_.tunnel,
                          context_.metrics);
}

}  // namespace tapdeck::server
