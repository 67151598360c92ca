// Connection's part for clients of the explicit listener: what the first bytes ask for, and CONNECT.
//
// A CONNECT decides about the connection: from its answer on, the flow is like a captured one whose destination the
// client has spelled out, and goes the same way: sniffed, bypassed, decrypted or tunnelled (connection.cc).
#include <algorithm>
#include <utility>
#include <variant>

#include "daemon/base/log.h"
#include "daemon/exchange/error_response.h"
#include "daemon/http/h1_codec.h"
#include "daemon/modes/miss.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/select.h"
#include "daemon/server/connection.h"
#include "daemon/upstream/name_cache.h"

namespace tapdeck::server {

namespace {

constexpr std::string_view kConnect = "CONNECT ";
constexpr std::string_view kEstablished = "HTTP/1.1 200 Connection established\r\n\r\n";

}  // namespace

net::Task<bool> Connection::receive_more() {
  const bool first = received_.empty();
  auto n = co_await stream_->read_some(received_);
  if (!n || *n == 0) {
    if (deadline_.is_expired()) context_.metrics.add(first ? Counter::LimitIdleTimeout : Counter::LimitHeaderTimeout);
    co_return false;
  }
  if (first) deadline_.set(context_.limits.header_timeout);
  co_return true;
}

net::Task<bool> Connection::begin_proxied() {
  deadline_.set(context_.limits.idle_timeout);
  Sniffed sniffed;
  while (sniffed.protocol == Protocol::NeedMore) {
    const bool more = co_await receive_more();
    if (!more) co_return false;
    const std::string_view start = received_.contiguous(std::min(received_.size(), kConnect.size()));
    if (start.starts_with(kConnect)) co_return co_await serve_connect();
    if (kConnect.starts_with(start)) continue;
    sniffed = sniff(received_.contiguous(std::min(received_.size(), ByteQueue::kChunkBytes)));
    // Nothing is tunnelled from here: what comes near to a request is answered as one.
    if (sniffed.nearest == Protocol::Http1 && !sniffed.is_in_method) sniffed.protocol = Protocol::Http1;
    if (received_.size() > tls::kMaxPeekBytes) break;
  }
  deadline_.clear();
  if (sniffed.protocol == Protocol::Http1 || sniffed.protocol == Protocol::Http2) {
    speaks_h2_ = sniffed.protocol == Protocol::Http2;
    transport_ = std::make_unique<transport::Transport>(std::move(stream_));
    co_await serve_http();
    co_return false;
  }
  context_.metrics.add(Counter::BadRequest);
  log::peer(log::Level::Warn, "proxy.not_http", "a client of the explicit listener does not speak HTTP to it",
            {{"client", facts_.flow.client.to_string()}, {"tls", sniffed.protocol == Protocol::Tls}});
  stream_->abort();
  co_return false;
}

net::Task<Result<proxy::Destination>> Connection::read_connect(http::Codec& codec) {
  codec.input().append(std::move(received_));
  while (true) {
    CO_TRY(event, codec.next());
    if (!event) {
      auto n = co_await stream_->read_some(codec.input());
      if (!n || *n == 0) co_return fail(Code::Truncated, "the client left inside its CONNECT", Origin::Downstream);
      continue;
    }
    if (std::holds_alternative<http::HeadReceived>(*event)) break;
  }
  // What follows the head belongs to the tunnel, once there is one (a client may be hasty).
  received_.append(std::move(codec.input()));
  co_return proxy::Destination::parse(codec.request_head().target, 0);
}

net::Task<bool> Connection::serve_connect() {
  asked_since_ = exchange::Clock::now();
  deadline_.set(context_.limits.header_timeout);
  const auto codec = http::make_h1_codec(http::Role::Server, {static_cast<size_t>(context_.limits.head_bytes),
                                                              static_cast<size_t>(context_.limits.headers)});
  auto destination = co_await read_connect(*codec);
  deadline_.clear();
  if (!destination) {
    const Error& error = destination.error();
    if (deadline_.is_expired()) context_.metrics.add(Counter::LimitHeaderTimeout);
    if (error.code == Code::Truncated || deadline_.is_expired()) co_return false;
    context_.observer.refused(facts_.flow, facts_.tls, error);
    if (const auto counter = exchange::refusal_counter_of(error, *codec)) context_.metrics.add(*counter);
    if (error.code == Code::Closed) co_return false;  // no HTTP client
    co_await refuse_connect(exchange::status_of(error), exchange::json_of(error, "-"));
    co_return false;
  }
  destination->apply(facts_.flow, {});
  bool bypassed = facts_.is_bypassed(facts_.flow.route->host);
  if (!bypassed) {
    auto by_address = co_await is_bypassed_by_address();
    bypassed = by_address;
  }
  if (bypassed && facts_.is_sealed()) {
    context_.metrics.add(facts_.flow.identity.label, Counter::MissOpaque);
    std::string answer(modes::kBypassedMiss);
    answer += '\n';
    co_await refuse_connect(502, std::move(answer));
    co_return false;
  }
  if (bypassed || !facts_.may_answer_from_tape()) {
    auto dialed = co_await reach_asked();
    if (!dialed) {
      const Error& error = dialed.error();
      if (error.code == Code::Cancelled) co_return false;
      if (error.origin == Origin::Upstream) context_.metrics.add(exchange::counter_of(error));
      co_await refuse_connect(exchange::status_of(error), exchange::json_of(error, facts_.flow.destination_text()));
      co_return false;
    }
  }
  ByteQueue answer;
  answer.append(kEstablished);
  auto answered = co_await stream_->write_all(answer);
  if (!answered) co_return false;
  if (!bypassed) co_return true;
  co_await tunnel(Counter::TunnelledBypass);
  co_return false;
}

// The rules may name a network that only the look-up tells of. Any of its addresses counts: which of them will be
// reached is not known yet. Replay looks nothing up, and lets nothing out either.
net::Task<bool> Connection::is_bypassed_by_address() {
  const upstream::Key key = facts_.plain_key();
  const bool may_match = facts_.target().bypass.has_addresses() || context_.bypass.has_addresses();
  if (!may_match || key.host.empty() || facts_.is_sealed() || context_.dial.names == nullptr) co_return false;
  auto found = co_await context_.dial.names->find(key.host);
  if (!found) co_return false;  // told when it is dialled
  co_return std::ranges::any_of(*found, [&](Endpoint address) {
    address.port = key.address.port;
    return facts_.target().bypass.match({}, address) || context_.bypass.match({}, address);
  });
}

// Says so when the client leaves while its origin is being reached: nobody is left to tell.
net::Task<> Connection::watch_client(net::Stream& client, Asked& asked) {
  if (asked.over) co_return;
  auto ready = co_await client.wait_readable();
  if (!ready || !client.has_ended()) co_return;  // hasty bytes: it is still there
  asked.over = true;
  asked.changed.notify();
}

net::Task<> Connection::dial_asked(upstream::Key key, Asked& asked) {
  auto connected = co_await upstream::connect_to(context_.dial, key);
  if (connected) {
    origin_.keep(std::move(*connected));
    asked.result = {};
  } else if (connected.error().code != Code::Cancelled) {
    asked.result = std::unexpected(connected.error());
  }
  asked.over = true;
  asked.changed.notify();
}

net::Task<Result<void>> Connection::reach_asked() {
  Asked asked(context_.executor);
  net::TaskGroup group(context_.executor);
  group.spawn(dial_asked(facts_.plain_key(), asked));
  group.spawn(watch_client(*stream_, asked));
  while (!asked.over) {
    co_await asked.changed.wait();
    const bool wanted = co_await net::is_wanted();
    if (!wanted) asked.over = true;
  }
  group.cancel();
  co_await group.join();
  co_return asked.result;
}

net::Task<> Connection::refuse_connect(int status, std::string body) {
  context_.metrics.count_request(facts_.flow.identity.label, facts_.target().mode, Outcome::Failed, status);
  const auto taken = std::chrono::duration<double>(exchange::Clock::now() - asked_since_);
  context_.metrics.observe_request(facts_.target().mode, Outcome::Failed, taken.count());
  log::peer(log::Level::Info, "proxy.connect_failed", "a CONNECT was refused",
            {{"destination", facts_.flow.destination_text()}, {"status", status}, {"answer", body}});
  const http::ResponseHead head = exchange::json_head(status, body.size());
  ByteQueue answer;
  answer.append("HTTP/1.1 " + std::to_string(status) + ' ' + head.reason + "\r\n");
  for (size_t i = 0; i < head.headers.size(); ++i) {
    answer.append(std::string(head.headers[i].name) + ": " + std::string(head.headers[i].value) + "\r\n");
  }
  answer.append("Connection: close\r\n\r\n" + body);
  deadline_.set(kLinger);
  auto written = co_await stream_->write_all(answer);
  if (!written) co_return;
  stream_->shutdown_send();
  ByteQueue discarded;
  while (true) {
    auto n = co_await stream_->read_some(discarded);
    if (!n || *n == 0) co_return;
    discarded.clear();
  }
}

}  // namespace tapdeck::server
