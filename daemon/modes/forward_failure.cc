// ForwardHandler's part for what becomes no whole answer: what its client is told, and whose failure it was.
#include "daemon/exchange/error_response.h"
#include "daemon/grpc/call.h"
#include "daemon/modes/break_off.h"
#include "daemon/modes/forward_attempt.h"

namespace tapdeck::modes {

using exchange::Exchange;

namespace {

bool asks_for_another_try(std::optional<uint32_t> code) {
  constexpr auto kRefused = static_cast<uint32_t>(http::ResetCode::RefusedStream);
  constexpr auto kHttp11 = static_cast<uint32_t>(http::ResetCode::Http11Required);
  return code == kRefused || code == kHttp11;
}

}  // namespace

bool is_turned_away(Exchange& exchange) {
  const bool is_told = exchange.request().version == http::Version::Http2 && !exchange.response_started();
  return is_told && asks_for_another_try(exchange.facts().reset_code);
}

bool is_reset_call(Exchange& exchange) {
  const auto code = exchange.facts().reset_code;
  if (!code || asks_for_another_try(code)) return false;
  return exchange.request().version == http::Version::Http2 && grpc::is_call(exchange.request());
}

Error ForwardHandler::reset_by_origin(Exchange& exchange, const http::StreamReset& reset, const Attempt& state) {
  const auto code = static_cast<uint32_t>(reset.code);
  exchange.facts().reset_code = code;
  const bool untouched = reset.code == http::ResetCode::RefusedStream && !state.response_begun;
  Error error{Code::Reset, state.lane->channel().key.where() + " reset the stream with code " + std::to_string(code),
              Origin::Upstream, untouched ? Retry::Yes : Retry::No, 0};
  // At a call's deadline its server takes it back as its client does: whose word comes first is chance.
  const bool is_cancelled = reset.code == http::ResetCode::Cancel && is_reset_call(exchange);
  const auto gone = exchange::Clock::now() - exchange.facts().began;
  if (is_cancelled && grpc::has_reached_deadline(exchange.request().headers, gone)) error.origin = Origin::Downstream;
  return error;
}

// The client may send it again, also a POST, and over HTTP/1.1 if that is what its origin requires: it learns so by the
// same signal (RFC 9113 8.7, 7).
Result<void> ForwardHandler::refuse_stream(Exchange& exchange, const Error& error) {
  exchange.facts().outcome = Outcome::Failed;
  exchange::note_failure(exchange.facts(), error);
  metrics_.add(exchange::counter_of(error));
  exchange.reset(http::ResetCode{exchange.facts().reset_code.value_or(0)});
  return std::unexpected(error);
}

net::Task<Result<void>> ForwardHandler::answer_failure(Exchange& exchange, const Error& error) {
  exchange::Facts& facts = exchange.facts();
  facts.outcome = Outcome::Failed;
  exchange::note_failure(facts, error);
  if (error.origin == Origin::Upstream) metrics_.add(exchange::counter_of(error));
  if (!exchange.response_started() && is_reset_call(exchange)) {  // nothing of it is on its way
    exchange.reset(http::ResetCode{*facts.reset_code});
    co_return std::unexpected(error);
  }
  if (exchange.response_started()) {
    const auto code = facts.reset_code ? http::ResetCode{*facts.reset_code} : http::ResetCode::InternalError;
    if (error.origin == Origin::Upstream || facts.reset_code) {
      const Break how = error.code == Code::Truncated ? Break::Cut : Break::Reset;
      co_await pass_on_break(exchange, code, how);
    } else {
      exchange.reset(code);
    }
    co_return std::unexpected(error);
  }
  // Nobody is left to be answered; a HEAD's answer, which ends with its head, would be taken for one that was held.
  if (error.origin == Origin::Internal && error.code == Code::Cancelled && facts.client_left)
    co_return std::unexpected(error);
  auto answered = co_await exchange::respond_failure(exchange, error);
  ignore(answered, "the upstream failure is the news; a client that left is in the facts of its session");
  co_return std::unexpected(error);
}

}  // namespace tapdeck::modes
