// Connection's part for what a client speaks: its first bytes in clear, or what TLS carries when ALPN did not say; and
// who speaks first when it keeps silent.
#include <algorithm>
#include <utility>

#include "daemon/net/offload.h"
#include "daemon/server/connection.h"

namespace tapdeck::server {

using exchange::Clock;

net::Stream& Connection::client() {
  return transport_ != nullptr ? transport_->stream() : *stream_;
}

net::Task<Result<size_t>> Connection::read_client() {
  if (transport_ == nullptr) co_return co_await stream_->read_some(received_);
  if (transport_->ended_without_notice()) co_return size_t{0};  // a socket tells of its end once
  co_return co_await transport_->read_some(received_);
}

Sniffed Connection::look() {
  const auto what = transport_ != nullptr ? &sniff_clear : &sniff;
  return received_.size() <= ByteQueue::kChunkBytes ? what(received_.contiguous(received_.size()))
                                                    : what(received_.to_string());
}

// How long to wait for the next byte.
Clock::duration Connection::patience(const Sniffed& sniffed) {
  const Clock::duration for_head = context_.limits.header_timeout;
  const Clock::duration for_byte = context_.limits.sniff_timeout;
  if (!first_byte_) return for_byte;
  const auto left = std::max<Clock::duration>(for_head - (Clock::now() - *first_byte_), std::chrono::milliseconds(1));
  const bool may_be_anything = sniffed.nearest == Protocol::Opaque && !facts_.is_sealed();
  const bool is_request = sniffed.nearest == Protocol::Http1 && !sniffed.is_in_method;
  return may_be_anything || is_request ? std::min(left, for_byte) : left;
}

net::Task<std::optional<Sniffed>> Connection::sniff_client() {
  net::Deadline silence(context_.executor, [this] { client().cancel(); });
  Sniffed sniffed;
  silence.set(patience(sniffed));
  bool asked_origin = false;
  bool came_early = !received_.empty();  // behind a CONNECT
  while (true) {
    Result<size_t> n = received_.size();
    if (!std::exchange(came_early, false)) {
      auto read = co_await read_client();
      n = read;
    }
    if (n && *n > 0) {
      sniffed = look();
      if (sniffed.protocol != Protocol::NeedMore) co_return sniffed;
      if (!first_byte_) first_byte_ = Clock::now();
      silence.set(patience(sniffed));
      continue;
    }
    const bool silent = !n && n.error().code == Code::Cancelled && silence.is_expired() && client().is_open();
    client_ended_ = n.has_value();
    if (client_ended_ && transport_ != nullptr && received_.empty()) transport_->end_output();
    if (received_.empty() && !silent) miss_unheard();
    if (!n && !silent) co_return std::nullopt;
    if (!received_.empty()) {  // no more comes: what is there has to do
      sniffed.protocol = sniffed.nearest;
      const bool is_cut_request = client_ended_ && sniffed.protocol == Protocol::Http1;
      if (sniffed.protocol == Protocol::NeedMore && silent) {  // inside a ClientHello, or a preface
        context_.metrics.add(Counter::LimitHeaderTimeout);
      }
      if (sniffed.protocol == Protocol::NeedMore || is_cut_request) co_return std::nullopt;
      co_return sniffed;
    }
    if (!silent) co_return std::nullopt;
    if (facts_.is_sealed()) {
      const Heard weighed = co_await weigh_silence(silence);
      if (weighed == Heard::Over) co_return std::nullopt;
      continue;
    }
    if (std::exchange(asked_origin, true)) {  // as without us: its origin cannot be reached
      client().abort();
      co_return std::nullopt;
    }
    const Heard heard = co_await hear_both();
    if (heard == Heard::Over) co_return std::nullopt;
    // Who speaks after all may be answered, if only by a 502.
    if (heard == Heard::NoOrigin) silence.set(context_.limits.header_timeout);
    came_early = !received_.empty();
  }
}

net::Task<store::Opening> Connection::recorded_opening() {
  if (context_.store == nullptr) co_return store::Opening::Unknown;
  auto read = [store = context_.store, session = facts_.target().session, place = facts_.place()]() mutable {
    auto known = store->opening(session, place);
    const bool is_settled = !known || *known != store::Opening::Unknown;
    if (is_settled || std::exchange(place.scheme, "https") == "https") return known;
    return store->opening(session, place);  // its handshake may be to come
  };
  auto known = co_await net::offload(context_.readers, read);
  co_return known ? *known : store::Opening::Unknown;
}

// Who is silent may wait for the origin to speak, or be slow, or have opened a connection for later. Where requests are
// on tape it gets the time of an idle connection, and one that is never used has missed nothing.
net::Task<Connection::Heard> Connection::weigh_silence(net::Deadline& silence) {
  const bool is_over = opening_.has_value();
  if (!is_over) {
    const store::Opening recorded = co_await recorded_opening();
    opening_ = recorded;
  }
  const bool may_ask = opening_ == store::Opening::Client;
  if (is_over && may_ask) {
    end_silent();
  } else if (is_over || opening_ == store::Opening::Origin) {
    refuse_opaque();
  } else {
    silence.set(may_ask ? context_.limits.idle_timeout : context_.limits.header_timeout);
    co_return Heard::Client;
  }
  co_return Heard::Over;
}

// Whatever it waited for is not on tape.
void Connection::miss_unheard() {
  if (opening_ != store::Opening::Unknown || !facts_.is_sealed()) return;
  miss_opaque("a client left that waited for its origin to speak first, or never asked; nothing of it is on tape");
}

void Connection::note_greeting() {
  const auto take = facts_.open_take();
  if (!take || facts_.is_sealed()) return;
  facts_.record(store::greeting_write(*take, facts_.place()));
}

namespace {

bool has_spoken(const net::Stream& stream) {
  return !stream.is_quiet() && !stream.has_ended();
}

}  // namespace

net::Task<Connection::Heard> Connection::hear_both() {
  if (transport_ != nullptr) co_return co_await hear_both_decrypted();
  auto origin = co_await origin_.reach_plain();
  if (origin == nullptr) co_return Heard::NoOrigin;
  const First first = co_await wait_for_either(*origin);
  if (first == First::Nobody) co_return Heard::Over;
  // An idle connection that its origin gave up is not where a request goes that came at the same time.
  if (has_spoken(*stream_) && origin->has_ended()) co_return Heard::Client;
  if (first == First::Client) {
    origin_.keep(std::move(origin));  // for its first exchange, or for the tunnel
    co_return Heard::Client;
  }
  if (has_spoken(*origin)) note_greeting();
  co_await tunnel_to(std::move(origin), Counter::TunnelledServerFirst);
  co_return Heard::Over;
}

net::Task<> Connection::watch(net::Stream& stream, First who, First& first, net::Signal& heard) {
  auto ready = co_await stream.wait_readable();
  if (ready && first == First::Nobody) first = who;
  heard.notify();
}

void Connection::end_listening() {
  deadline_.clear();
  if (deadline_.is_expired()) context_.metrics.add(Counter::LimitIdleTimeout);
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
  co_await group.join();
  end_listening();
  co_return first;
}

}  // namespace tapdeck::server
