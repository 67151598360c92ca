// ForwardHandler's part for what follows a 101 or a 2xx to CONNECT: bytes, both ways.
#include <optional>
#include <utility>

#include "daemon/modes/forward_attempt.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using exchange::Exchange;

namespace {

// client -> origin of an upgraded connection. `counting` null: what passes is no tunnel's.
net::Task<> pump_up(Exchange& exchange, upstream::Lane& lane, net::Deadline& idle, Metrics* counting) {
  while (true) {
    auto piece = co_await exchange.read_body();
    if (!piece) {
      if (piece.error().code != Code::Cancelled) lane.abandon(http::ResetCode::Cancel);
      co_return;
    }
    idle.set(lane.idle_timeout());
    if (counting != nullptr) counting->add(Counter::TunnelledBytesUp, piece->bytes.size());
    Result<void> sent;
    if (!piece->bytes.empty()) sent = co_await lane.write_tunnel(*piece);
    if (!sent) co_return;
    if (piece->end) {
      lane.end_tunnel();
      co_return;
    }
  }
}

// What ends when its target turns to replay: not what a route lets pass all the same, nor WebSockets on their way to
// tape.
bool is_raw(Exchange& exchange) {
  const exchange::Facts& facts = exchange.facts();
  if (facts.route_decides || facts.mode == Mode::Replay) return false;
  return facts.mode == Mode::Passthrough || !http::is_websocket(exchange.request());
}

}  // namespace

net::Task<Result<void>> ForwardHandler::pump_tunnel(Exchange& exchange, Attempt& state) {
  upstream::Lane& lane = *state.lane;
  exchange::Facts& facts = exchange.facts();
  // The messages of a WebSocket are an exchange's; of what is nested the connection at the other end counts all.
  const bool is_tunnel = !state.is_nested && !http::is_websocket(exchange.request());
  Metrics* const counting = is_tunnel ? &metrics_ : nullptr;
  if (is_tunnel) {
    const bool is_connect = exchange.request().method == "CONNECT";
    counting->add(is_connect ? Counter::TunnelledConnect : Counter::TunnelledUpgrade);
    facts.before_tunnel = {is_connect ? 0 : facts.request_bytes, facts.response_bytes};
  }
  facts.passes_raw = !state.is_nested && is_raw(exchange);
  if (facts.passes_raw && facts.may_not_pass) {
    lane.abandon(http::ResetCode::Cancel);
    metrics_.add(exchange.flow().identity.label, Counter::MissOpaque);
    co_return fail(Code::Cancelled, "its target is replayed from now on", Origin::Internal);
  }
  exchange.become_tunnel();
  auto answered = co_await exchange.flush();
  if (!answered) co_return answered;
  net::TaskGroup up(executor_);
  // One timer for both directions: a peer that only listens is not idle, one that is gone without a word is.
  net::Deadline idle(executor_, [&] {
    metrics_.add(Counter::LimitIdleTimeout);
    lane.abandon(http::ResetCode::Cancel);
    up.cancel();
  });
  idle.set(lane.idle_timeout());
  up.spawn(pump_up(exchange, lane, idle, counting));
  Result<void> result;
  while (true) {
    auto piece = co_await lane.read_tunnel();
    if (!piece) result = std::unexpected(piece.error());
    if (const auto code = lane.reset_code(); !piece && code) exchange.facts().reset_code = static_cast<uint32_t>(*code);
    if (!piece || piece->end) break;
    idle.set(lane.idle_timeout());
    if (counting != nullptr) counting->add(Counter::TunnelledBytesDown, piece->bytes.size());
    const BodyPiece passed = *piece;
    result = co_await exchange.write_body(passed);
    if (result && !passed.more) result = co_await exchange.flush();
    if (!result) break;
  }
  const http::Headers no_trailers;
  if (result) result = exchange.end(no_trailers);
  // A stream's end is only queued, and the client may have more to say before it ends its side. In h1 it is out.
  if (result && exchange.request().version == http::Version::Http2) result = co_await exchange.flush();
  if (!result) up.cancel();
  co_await up.join();
  if (!result && idle.is_expired()) {
    result = fail(Code::Timeout, "no byte either way through the upgraded connection", Origin::Internal);
  }
  lane.abandon(result ? http::ResetCode::NoError : http::ResetCode::Cancel);
  co_return result;
}

}  // namespace tapdeck::modes
