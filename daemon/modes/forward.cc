#include "daemon/modes/forward.h"

#include <array>
#include <optional>
#include <utility>
#include <variant>

#include "daemon/exchange/error_response.h"
#include "daemon/modes/origin.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using exchange::Exchange;

namespace {
// How long the rest of a request body is waited for once its answer is whole. A client that sends sends at once.
constexpr std::chrono::milliseconds kRestOfBody{500};
// 1xx responses of one exchange: each is kept for the recording, so an endless row of them is memory.
constexpr unsigned kMaxInformational = 100;
}  // namespace

// What one try on one connection has come to.
struct ForwardHandler::Attempt {
  std::unique_ptr<upstream::Connection> connection;
  http::StreamId stream = 0;
  std::optional<Error> request_failure;  // the client's side broke while its body was being sent
  bool request_sent = false;
  bool response_begun = false;  // any byte of an answer: no retry afterwards
};

bool may_repeat(const Exchange& exchange) {
  static constexpr std::array<std::string_view, 6> kIdempotent = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
  if (!exchange.request_is_bodyless()) return false;
  for (const std::string_view method : kIdempotent) {
    if (exchange.request().method == method) return true;
  }
  return false;
}

void ForwardHandler::note_connection(Exchange& exchange, const upstream::Connection& connection) {
  exchange::Facts& facts = exchange.facts();
  facts.upstream_reused = connection.reused;
  if (connection.reused) return;
  facts.upstream_connect = connection.connect_time;
  facts.upstream_tls = connection.tls_time;
}

net::Task<Result<void>> ForwardHandler::serve(Exchange& exchange) {
  const upstream::Key key = upstream_key_of(exchange);
  upstream::Fresh fresh = upstream::Fresh::No;
  while (true) {
    auto dialed = co_await pool_.acquire(key, fresh);
    if (dialed.connection == nullptr) co_return co_await answer_failure(exchange, dialed.error);
    note_connection(exchange, *dialed.connection);
    Attempt state;
    state.connection = std::move(dialed.connection);
    auto done = co_await attempt(exchange, state);
    if (done) {
      pool_.give_back(std::move(state.connection));
      co_return done;
    }
    const bool lost_race = state.connection->reused && !state.response_begun && done.error().origin == Origin::Upstream;
    if (lost_race && may_repeat(exchange) && fresh == upstream::Fresh::No) {
      fresh = upstream::Fresh::Yes;  // the origin closed an idle connection while our request was on its way
      continue;
    }
    co_return co_await answer_failure(exchange, done.error());
  }
}

net::Task<Result<void>> ForwardHandler::attempt(Exchange& exchange, Attempt& state) {
  http::Codec& codec = state.connection->codec();
  const auto end = exchange.request_is_bodyless() ? http::EndStream::Yes : http::EndStream::No;
  CO_TRY(stream, codec.send_request(exchange.request(), end));
  state.stream = stream;
  auto flushed = co_await state.connection->flush();
  if (!flushed) {
    Error error = flushed.error();
    error.origin = Origin::Upstream;
    co_return std::unexpected(std::move(error));
  }
  if (end == http::EndStream::Yes) {
    state.request_sent = true;
    co_return co_await pump_response(exchange, state);
  }
  net::TaskGroup sender(executor_);
  sender.spawn(pump_request(exchange, state));
  auto answered = co_await pump_response(exchange, state);
  if (answered && !state.request_sent && !exchange.request().headers.has_token("expect", "100-continue")) {
    // Answered before the whole body came (a 405, say). The client is still sending: what it sends belongs to the
    // request, its key and its framing towards the origin. A client that waits for the answer first ends the wait.
    net::Deadline patience(executor_, [&sender] { sender.cancel(); });
    patience.set(kRestOfBody);
    while (sender.size() > 0) co_await sender.join();
  }
  sender.cancel();
  while (sender.size() > 0) co_await sender.join();
  if (!answered && state.request_failure) co_return std::unexpected(*state.request_failure);
  co_return answered;
}

net::Task<> ForwardHandler::pump_request(Exchange& exchange, Attempt& state) {
  http::Codec& codec = state.connection->codec();
  while (true) {
    auto piece = co_await exchange.read_body();
    if (!piece) {
      if (piece.error().code != Code::Cancelled) {
        state.request_failure = piece.error();
        state.connection->close();  // never let the origin take a part for the whole
      }
      co_return;
    }
    if (!piece->bytes.empty()) {
      auto sent = codec.send_body(state.stream, piece->bytes, piece->chunk);
      if (!sent) break;
    }
    if (piece->end) {
      auto ended = codec.send_end(state.stream, exchange.request_trailers());
      if (!ended) break;
      state.request_sent = true;
    }
    auto flushed = co_await state.connection->flush();
    if (!flushed || piece->end) co_return;  // an upstream that stops reading may still answer; pump_response sees it
  }
  state.connection->close();
}

bool is_switch(const http::RequestHead& request, int status) {
  return status == 101 || (request.method == "CONNECT" && status >= 200 && status < 300);
}

net::Task<Result<void>> ForwardHandler::pump_response(Exchange& exchange, Attempt& state) {
  http::Codec& codec = state.connection->codec();
  http::Headers trailers;
  bool response_ended = false;
  unsigned informed = 0;
  bool switching = false;  // Upgraded follows the end of the message
  while (true) {
    CO_TRY(ready, codec.next());
    std::optional<http::Event> event = ready;
    if (!event) {
      auto flushed = co_await exchange.flush();  // what came so far must not wait for what comes next
      if (!flushed) co_return flushed;
      CO_TRY(waited, co_await state.connection->next());
      event = waited;
    }
    if (!event) {
      co_return fail(Code::Reset, state.connection->key().address.to_string() + " closed without an answer",
                     Origin::Upstream);
    }
    if (!state.response_begun) {
      state.response_begun = true;
      exchange.facts().upstream_first_byte = exchange::Clock::now() - exchange.facts().began;
    }
    if (std::holds_alternative<http::InformationalReceived>(*event)) {
      if (++informed > kMaxInformational) {
        co_return fail(Code::Protocol, "the origin sends interim responses without end", Origin::Upstream);
      }
      CO_TRY_VOID(exchange.inform(codec.response_head()));
    } else if (const auto* head = std::get_if<http::HeadReceived>(&*event)) {
      CO_TRY_VOID(exchange.respond(codec.response_head(), head->end));
      response_ended = head->end == http::EndStream::Yes;
      switching = is_switch(exchange.request(), codec.response_head().status);
    } else if (const auto* body = std::get_if<http::BodyReceived>(&*event)) {
      const BodyPiece piece{body->bytes, body->chunk, false};
      auto written = co_await exchange.write_body(piece);
      if (!written) co_return written;
      codec.consumed(state.stream, body->bytes.size());
    } else if (std::holds_alternative<http::TrailersReceived>(*event)) {
      trailers = codec.trailers();
    } else if (std::holds_alternative<http::Upgraded>(*event)) {
      co_return co_await pump_tunnel(exchange, state);
    } else if (std::holds_alternative<http::StreamReset>(*event)) {
      co_return fail(Code::Reset, "the origin reset the stream", Origin::Upstream);
    } else if (std::holds_alternative<http::MessageComplete>(*event) && !switching) {
      if (response_ended) co_return Result<void>{};
      co_return exchange.end(trailers);
    }
  }
}

namespace {

// client -> origin of an upgraded connection.
net::Task<> pump_up(Exchange& exchange, upstream::Connection& connection, net::Deadline& idle, Metrics& metrics) {
  while (true) {
    auto piece = co_await exchange.read_body();
    if (!piece) {
      if (piece.error().code != Code::Cancelled) connection.close();
      co_return;
    }
    idle.set(connection.idle_timeout());
    metrics.add(Counter::TunnelledBytesUp, piece->bytes.size());
    connection.codec().output().append(piece->bytes);
    auto flushed = co_await connection.flush();
    if (!flushed) co_return;
    if (piece->end) {
      connection.transport().end_output();
      co_return;
    }
  }
}

}  // namespace

net::Task<Result<void>> ForwardHandler::pump_tunnel(Exchange& exchange, Attempt& state) {
  metrics_.add(exchange.request().method == "CONNECT" ? Counter::TunnelledConnect : Counter::TunnelledUpgrade);
  exchange.become_tunnel();
  auto answered = co_await exchange.flush();
  if (!answered) co_return answered;
  net::TaskGroup up(executor_);
  // One timer for both directions: a peer that only listens is not idle, one that is gone without a word is.
  net::Deadline idle(executor_, [&] {
    metrics_.add(Counter::LimitIdleTimeout);
    state.connection->close();
    up.cancel();
  });
  const auto idle_timeout = state.connection->idle_timeout();
  idle.set(idle_timeout);
  up.spawn(pump_up(exchange, *state.connection, idle, metrics_));
  ByteQueue& input = state.connection->codec().input();
  Result<void> result;
  while (true) {
    if (input.empty()) {
      auto n = co_await state.connection->transport().read_some(input);
      if (!n || *n == 0) {
        if (!n) result = std::unexpected(n.error());
        break;
      }
      idle.set(idle_timeout);
    }
    const BodyPiece piece{input.front(), std::nullopt, false};
    metrics_.add(Counter::TunnelledBytesDown, piece.bytes.size());
    result = co_await exchange.write_body(piece);
    if (!result) break;
    input.consume(piece.bytes.size());
    result = co_await exchange.flush();
    if (!result) break;
  }
  const http::Headers no_trailers;
  if (result) result = exchange.end(no_trailers);
  if (!result) up.cancel();
  while (up.size() > 0) co_await up.join();
  if (!result && idle.is_expired()) {
    result = fail(Code::Timeout, "no byte either way through the upgraded connection", Origin::Internal);
  }
  state.connection->close();
  co_return result;
}

net::Task<Result<void>> ForwardHandler::answer_failure(Exchange& exchange, const Error& error) {
  exchange::Facts& facts = exchange.facts();
  facts.outcome = Outcome::Failed;
  facts.error = exchange::name_of(error);
  facts.error_detail = error.message();
  if (error.origin == Origin::Upstream) metrics_.add(exchange::counter_of(error));
  if (exchange.response_started()) {
    exchange.reset(http::ResetCode::InternalError);
    co_return std::unexpected(error);
  }
  std::string body = exchange::json_of(error, exchange.flow().destination.to_string());
  auto answered = co_await exchange::respond_json(exchange, exchange::status_of(error), std::move(body));
  ignore(answered, "the upstream failure is the news; a client that left is in the facts of its session");
  co_return std::unexpected(error);
}

}  // namespace tapdeck::modes
