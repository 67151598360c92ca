#include "daemon/modes/forward.h"

#include <array>
#include <optional>
#include <utility>
#include <variant>

#include "daemon/exchange/error_response.h"
#include "daemon/modes/break_off.h"
#include "daemon/modes/forward_attempt.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/replayed_request.h"
#include "daemon/modes/websocket_heads.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"
#include "daemon/upstream/bound_auth.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using exchange::Exchange;

namespace {
// 1xx responses of one exchange: each is kept for the recording, so an endless row of them is memory.
constexpr unsigned kMaxInformational = 100;
// Tries of a request whose stream the origin refuses: an overloaded origin refuses the next one as well.
constexpr unsigned kMaxRefusals = 3;

// What ended because the client left, or the daemon stops, is nobody's failure.
Error settle(Error error) {
  if (error.code == Code::Cancelled) error.origin = Origin::Internal;
  return error;
}

// The origin ended an idle connection while the request was on its way to it, and so has not seen it. An answer that we
// do not take, or a part of one, is an answer: then it has. A handshake that a bound connection has
// begun, or the identity that it stands for, is not there on another.
bool is_lost_race(const upstream::Lane& lane, const Error& error) {
  const bool ended = error.code == Code::Reset || error.code == Code::Closed || error.code == Code::Truncated;
  if (!ended || error.origin != Origin::Upstream || lane.was_bound) return false;
  return lane.reused && !lane.has_heard() && !lane.reset_code();
}

bool is_code(std::optional<uint32_t> code, http::ResetCode wanted) {
  return code == static_cast<uint32_t>(wanted);
}
}  // namespace

bool may_repeat(const Exchange& exchange) {
  static constexpr std::array<std::string_view, 6> kIdempotent = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
  if (!exchange.request_is_bodyless()) return false;
  for (const std::string_view method : kIdempotent) {
    if (exchange.request().method == method) return true;
  }
  return false;
}

namespace {

// The origin takes no WebSocket over HTTP/2, which it need not (RFC 8441 3). Its client was told that it could: we
// answer its SETTINGS before any origin is known.
bool is_for_h1(const Exchange& exchange, const Error& error) {
  const http::RequestHead& request = exchange.request();
  return error.code == Code::Unsupported && request.method == "CONNECT" && http::is_websocket(request);
}

// The origin asks for a client certificate, and the client was never asked for one: its own handshake was answered from
// the tape, before the origin was dialled. Its request is not sent without: the origin would take it for somebody
// else's.
bool wants_clients_certificate(Exchange& exchange, const upstream::Lane& lane) {
  const exchange::TlsFacts& client = exchange.tls();
  return lane.channel().tls.certificate_requested && !client.version.empty() && client.upstream_verify.empty();
}

Error refusal_without_certificate(const upstream::Key& key) {
  return {Code::TlsVerify,
          key.where() +
              " asks for the client's certificate by now, which only the client has: its next connection is handed "
              "through",
          Origin::Upstream, Retry::No, 0};
}

}  // namespace

void ForwardHandler::note_connection(Exchange& exchange, const upstream::Lane& lane) {
  exchange::Facts& facts = exchange.facts();
  facts.upstream_reused = lane.reused;
  const upstream::Channel::Tls& tls = lane.channel().tls;
  if (!tls.version.empty() && exchange.tls().upstream_verify.empty())
    facts.upstream_tls_facts = {tls.version, tls.alpn, tls.certificate, std::string(tls.verified())};
  if (lane.reused) return;
  facts.upstream_connect = lane.channel().connect_time;
  facts.upstream_tls = lane.channel().tls_time;
}

net::Task<Result<void>> ForwardHandler::serve(Exchange& exchange) {
  upstream::Key key = pool_.as_required(upstream_key_of(exchange));
  RequestSource source(exchange, key.may_be_h2() ? Keep::Yes : Keep::No);
  Tries tries{source, std::move(key), {.client = exchange.flow().connection, .since = exchange.facts().began}};
  tries.asker.sends = may_repeat(exchange) ? upstream::Sends::Repeatable : upstream::Sends::Once;
  if (upstream::has_bound_credentials(exchange.request())) tries.asker.bound = upstream::Bound::Yes;
  while (true) {
    upstream::Acquired acquired;
    if (tries.fresh == upstream::Fresh::No) acquired.lane = pool_.try_acquire(tries.key, tries.asker);
    if (acquired.lane == nullptr) {
      auto waited = co_await pool_.acquire(tries.key, tries.fresh, tries.asker);
      acquired = std::move(waited);
    }
    if (acquired.lane == nullptr) co_return co_await answer_failure(exchange, settle(acquired.error));
    note_connection(exchange, *acquired.lane);
    if (wants_clients_certificate(exchange, *acquired.lane)) {
      const Error error = refusal_without_certificate(tries.key);
      co_return co_await answer_failure(exchange, error);
    }
    Attempt state{source, std::move(acquired.lane), std::nullopt};
    auto done = co_await attempt(exchange, state);
    if (done) {
      pool_.give_back(std::move(state.lane));
      co_return done;
    }
    const Error error = settle(done.error());
    const Next next = after_failure(exchange, state, tries, error);
    if (next == Next::RefuseStream) co_return refuse_stream(exchange, error);
    if (next == Next::AnswerFailure) co_return co_await answer_failure(exchange, error);
  }
}

ForwardHandler::Next ForwardHandler::after_failure(Exchange& exchange, const Attempt& state, Tries& tries,
                                                   const Error& error) {
  exchange::Facts& facts = exchange.facts();
  // The origin says that it has not begun (REFUSED_STREAM, a GOAWAY that leaves us out): safe for every method.
  const bool untouched = error.retry == Retry::Yes && !state.response_begun;
  if (untouched && tries.refusals < kMaxRefusals && tries.rewind(facts)) {
    ++tries.refusals;
    return Next::Again;
  }
  const bool is_told = exchange.request().version == http::Version::Http2 && !exchange.response_started();
  const bool is_refused = untouched && is_code(facts.reset_code, http::ResetCode::RefusedStream);
  const bool requires_h1 =
      error.origin == Origin::Upstream && is_code(facts.reset_code, http::ResetCode::Http11Required);
  if (is_told && (is_refused || requires_h1)) return Next::RefuseStream;
  if (is_for_h1(exchange, error) && tries.key.may_be_h2()) {
    tries.key = upstream::over_h1(tries.key);  // for this request only
    return Next::Again;
  }
  // A client of HTTP/1.1 cannot be told so, and it would be no news to it: the origin is asked as it wishes.
  if (requires_h1 && !state.response_begun && tries.key.may_be_h2()) {
    tries.key = pool_.require_h1(tries.key);
    if (tries.asker.sends == upstream::Sends::Once) tries.fresh = upstream::Fresh::Yes;
    if (tries.rewind(facts)) return Next::Again;
  }
  if (is_lost_race(*state.lane, error) && may_repeat(exchange) && tries.fresh == upstream::Fresh::No) {
    tries.fresh = upstream::Fresh::Yes;
    return Next::Again;
  }
  return Next::AnswerFailure;
}

net::Task<Result<void>> ForwardHandler::serve_over(Exchange& exchange, std::unique_ptr<upstream::Lane> lane) {
  RequestSource source(exchange, Keep::No);
  Attempt state{source, std::move(lane), std::nullopt};
  state.is_nested = true;
  auto done = co_await attempt(exchange, state);
  if (done) co_return done;
  const Error error = settle(done.error());
  if (!exchange.response_started()) co_return co_await answer_failure(exchange, error);
  exchange.facts().outcome = Outcome::Failed;
  exchange::note_failure(exchange.facts(), error);
  co_await pass_on_break(exchange, http::ResetCode::ConnectError);  // RFC 9113 8.5
  co_return std::unexpected(error);
}

// Answered before the whole body came (a 405, say), the client is still sending: what it sends belongs to the request,
// its key and its framing towards the origin. A client that was to be invited first (Expect) may send nothing; so may a
// stream without a declared length, which may well be waiting for us (gRPC).
bool ForwardHandler::expects_rest(Exchange& exchange, const Attempt& state) {
  if (state.request_sent) return false;
  const http::RequestHead& head = exchange.request();
  if (head.version == http::Version::Http2 && !head.headers.find("content-length")) return false;
  return !awaits_invitation(exchange);
}

namespace {

net::Task<Result<void>> failed(Error error) {
  co_return std::unexpected(std::move(error));
}

}  // namespace

// Most requests have no body and fit the socket: those take no coroutine of their own.
net::Task<Result<void>> ForwardHandler::attempt(Exchange& exchange, Attempt& state) {
  const http::RequestHead& request = exchange.request();
  // What follows the head of a CONNECT is the tunnel's, which pump_tunnel reads; the h2 codec keeps its stream open.
  const bool ends = exchange.request_is_bodyless() || request.method == "CONNECT";
  const auto end = ends ? http::EndStream::Yes : http::EndStream::No;
  const bool is_h1 = state.lane->whole() != nullptr;
  if (!state.lane->is_settled() && (http::is_websocket(request) || !request.protocol.empty())) {
    return attempt_settled(exchange, state);
  }
  std::optional<http::RequestHead> upgrade;
  if (is_h1 && request.method == "CONNECT" && http::is_websocket(request)) {
    upgrade = for_h1_origin(request);
    state.websocket_key = upgrade->headers.find("sec-websocket-key").value_or("");
  }
  if (auto sent = state.lane->send_request(upgrade ? *upgrade : request, end); !sent) return failed(sent.error());
  if (!ends) return attempt_waiting(exchange, state);
  const auto flushed = state.lane->try_flush();
  if (!flushed || !*flushed) return attempt_waiting(exchange, state);  // flush() says what is wrong
  state.note_sent();
  return pump_response(exchange, state);
}

net::Task<Result<void>> ForwardHandler::attempt_settled(Exchange& exchange, Attempt& state) {
  CO_TRY_VOID(co_await state.lane->settle());
  co_return co_await attempt(exchange, state);
}

net::Task<Result<void>> ForwardHandler::attempt_waiting(Exchange& exchange, Attempt& state) {
  auto flushed = co_await state.lane->flush();
  if (!flushed) {
    Error error = flushed.error();
    error.origin = Origin::Upstream;
    co_return std::unexpected(std::move(error));
  }
  if (exchange.request_is_bodyless() || exchange.request().method == "CONNECT") {
    state.note_sent();
    co_return co_await pump_response(exchange, state);
  }
  net::TaskGroup sender(executor_);
  sender.spawn(pump_request(state));
  auto answered = co_await pump_response(exchange, state);
  if (answered && expects_rest(exchange, state)) {
    if (exchange.facts().client_invited) answered = co_await exchange.flush();  // it may have come with the answer
    net::Deadline patience(executor_, [&sender] { sender.cancel(); });
    patience.set(kRestOfBody);
    co_await sender.join();
  }
  sender.cancel();
  if (sender.size() > 0) co_await sender.join();  // mostly it has ended: no frame for that
  if (!answered && state.request_failure) co_return std::unexpected(*state.request_failure);
  co_return answered;
}

net::Task<> ForwardHandler::pump_request(Attempt& state) {
  upstream::Lane& lane = *state.lane;
  bool stopped = false;  // the origin reads no more
  while (true) {
    auto piece = co_await state.source.read();
    if (!piece) {
      const Error& error = piece.error();
      // An HTTP/2 client that stops its upload because the answer is there still wants that. (Over HTTP/1 it looks like
      // one that leaves.) The lane is not used again.
      const bool stopped_itself =
          error.code == Code::Truncated && state.response_begun && state.source.version() == http::Version::Http2;
      if (error.code != Code::Cancelled && !stopped_itself) {
        state.request_failure = error;
        lane.abandon(http::ResetCode::Cancel);  // never let the origin take a part for the whole
      }
      co_return;
    }
    if (stopped && piece->end) co_return;
    if (stopped) continue;
    Result<void> sent;
    if (!piece->bytes.empty() || piece->chunk) sent = co_await lane.send_body(*piece);
    if (sent && piece->end) {
      sent = lane.send_end(state.source.trailers());
      if (sent) state.note_sent();
      if (sent) sent = co_await lane.flush();
      if (sent) state.note_sent();
    }
    if (!sent && sent.error().origin == Origin::Internal && sent.error().code != Code::Cancelled) {
      lane.abandon(http::ResetCode::InternalError);  // what cannot be framed must not look finished
    }
    if (!sent && sent.error().code == Code::Cancelled) co_return;
    if (piece->end) co_return;
    // An origin that stops reading may still answer, which pump_response sees; what the client sends meanwhile belongs
    // to the request, and to its key.
    if (!sent) stopped = true;
  }
}

bool is_switch(const http::RequestHead& request, int status) {
  return status == 101 || (request.method == "CONNECT" && status >= 200 && status < 300);
}

Result<void> ForwardHandler::pass_head(Exchange& exchange, const Attempt& state, const http::HeadReceived& head,
                                       Passing& passing) {
  upstream::Lane& lane = *state.lane;
  const bool is_h1 = lane.whole() != nullptr;
  passing.ended = head.end == http::EndStream::Yes;
  // An offer alone names nobody: over HTTP/2, where it would cost all clients of the connection a new dial, the
  // credentials of a request decide.
  if (is_h1 && upstream::is_bound_challenge(lane.response_head())) lane.bind();
  if (passing.informed > 0) exchange.facts().upstream_head = exchange::Clock::now() - exchange.facts().began;
  std::optional<http::ResponseHead> opened;
  if (!is_h1 && !passing.ended && is_opened_by_h2(exchange.request(), lane.response_head())) {
    opened = for_h1_client(exchange.request(), lane.response_head());
  }
  const http::ResponseHead& answer = opened ? *opened : lane.response_head();
  if (auto refused = refusal_by_h1(exchange.request(), answer, state.websocket_key)) {
    return std::unexpected(*refused);
  }
  passing.switching = is_switch(exchange.request(), answer.status);
  // What follows the head of an h1 connection that switches is the tunnel's.
  const auto end = passing.switching && is_h1 ? http::EndStream::No : head.end;
  return exchange.respond(answer, end);
}

net::Task<Result<void>> ForwardHandler::pump_response(Exchange& exchange, Attempt& state) {
  upstream::Lane& lane = *state.lane;
  Passing passing;
  while (true) {
    CO_TRY(ready, lane.try_next());
    std::optional<http::Event> event = ready;
    if (!event) {
      CO_TRY(told, exchange.try_flush());  // what came so far must not wait for what comes next
      if (!told) {
        auto flushed = co_await exchange.flush();
        if (!flushed) co_return flushed;
      }
      CO_TRY(waited, co_await lane.next());
      event = waited;
    }
    if (!event) {
      co_return fail(Code::Reset, lane.channel().key.where() + " closed without an answer", Origin::Upstream);
    }
    if (const auto* reset = std::get_if<http::StreamReset>(&*event)) {
      co_return std::unexpected(reset_by_origin(exchange, *reset, state));
    }
    state.note_answer(exchange.facts());
    if (std::holds_alternative<http::InformationalReceived>(*event)) {
      if (++passing.informed > kMaxInformational) {
        co_return fail(Code::Protocol, "the origin sends interim responses without end", Origin::Upstream);
      }
      CO_TRY_VOID(exchange.inform(lane.response_head()));
    } else if (const auto* head = std::get_if<http::HeadReceived>(&*event)) {
      CO_TRY_VOID(pass_head(exchange, state, *head, passing));
      // A stream is a tunnel from here; an h1 connection says Upgraded when its message has ended.
      const bool is_tunnel = passing.switching && lane.whole() == nullptr && !passing.ended;
      if (is_tunnel) co_return co_await pump_tunnel(exchange, state);
    } else if (const auto* body = std::get_if<http::BodyReceived>(&*event)) {
      const BodyPiece piece{body->bytes, body->chunk, false};
      auto written = co_await exchange.write_body(piece);
      if (!written) co_return written;
      lane.consumed(body->bytes.size());
    } else if (std::holds_alternative<http::TrailersReceived>(*event)) {
      passing.trailers = lane.trailers();
    } else if (std::holds_alternative<http::Upgraded>(*event)) {
      co_return co_await pump_tunnel(exchange, state);
    } else if (std::holds_alternative<http::MessageComplete>(*event) &&
               (!passing.switching || lane.whole() == nullptr)) {
      if (passing.ended) co_return Result<void>{};
      co_return exchange.end(passing.trailers);
    }
  }
}

}  // namespace tapdeck::modes
