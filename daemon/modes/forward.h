// ForwardHandler: sends an exchange to its original destination and streams the answer back. Stores nothing.
//
// Transparent: heads go through as they came, also Connection and Upgrade (an offer of h2c did not come this far:
// http/h2c_offer.h); a 101 turns both sides into a byte pipe.
// Between h1 and h2 the codecs translate. A request is sent again only when that cannot repeat its effect.
// Owner: the worker. Thread: its own.
#pragma once

#include <chrono>

#include "daemon/exchange/handler.h"
#include "daemon/modes/request_source.h"
#include "daemon/upstream/pool.h"

namespace tapdeck::modes {

// How long the rest of a request body is waited for once its answer is known (docs/decisions/0010). A client that sends
// sends at once.
inline constexpr std::chrono::milliseconds kRestOfBody{500};

class ForwardHandler final : public exchange::Handler {
 public:
  ForwardHandler(upstream::Pool& pool, Metrics& metrics, asio::any_io_executor executor)
      : pool_(pool), metrics_(metrics), executor_(std::move(executor)) {}

  net::Task<Result<void>> serve(exchange::Exchange& exchange) override;
  // The same over a connection of the caller's, once: it goes into no pool.
  net::Task<Result<void>> serve_over(exchange::Exchange& exchange, std::unique_ptr<upstream::Lane> lane);

 private:
  struct Attempt;
  struct Tries;
  struct Passing;
  // What follows an attempt that failed.
  enum class Next { Again, RefuseStream, AnswerFailure };
  net::Task<Result<void>> attempt(exchange::Exchange& exchange, Attempt& state);
  net::Task<Result<void>> attempt_waiting(exchange::Exchange& exchange, Attempt& state);
  net::Task<Result<void>> attempt_settled(exchange::Exchange& exchange, Attempt& state);
  // Prepares the next try where there is one.
  [[nodiscard]] Next after_failure(exchange::Exchange& exchange, const Attempt& state, Tries& tries,
                                   const Error& error);
  net::Task<> pump_request(Attempt& state);
  net::Task<Result<void>> pump_response(exchange::Exchange& exchange, Attempt& state);
  static Result<void> pass_head(exchange::Exchange& exchange, const Attempt& state, const http::HeadReceived& head,
                                Passing& passing);
  net::Task<Result<void>> pump_tunnel(exchange::Exchange& exchange, Attempt& state);
  net::Task<Result<void>> answer_failure(exchange::Exchange& exchange, const Error& error);
  Result<void> refuse_stream(exchange::Exchange& exchange, const Error& error);
  void note_connection(exchange::Exchange& exchange, const upstream::Lane& lane);
  [[nodiscard]] static bool expects_rest(exchange::Exchange& exchange, const Attempt& state);
  [[nodiscard]] static Error reset_by_origin(exchange::Exchange& exchange, const http::StreamReset& reset,
                                             const Attempt& state);

  upstream::Pool& pool_;
  Metrics& metrics_;
  asio::any_io_executor executor_;
};

// Safe to send twice (RFC 9110 9.2.2) and without a body that is already gone.
[[nodiscard]] bool may_repeat(const exchange::Exchange& exchange);
// The origin broke a gRPC call of an h2 client off by a code that the client is told as it is, before the head too:
// gRPC makes a status of each, and of a 502 UNAVAILABLE. Not the codes that ask for another try.
[[nodiscard]] bool is_reset_call(exchange::Exchange& exchange);
// An h2 client was told to send its request again, or over HTTP/1.1: its origin had not begun with it.
[[nodiscard]] bool is_turned_away(exchange::Exchange& exchange);
// 101, or 2xx to CONNECT: what follows the head is not HTTP.
[[nodiscard]] bool is_switch(const http::RequestHead& request, int status);

}  // namespace tapdeck::modes
