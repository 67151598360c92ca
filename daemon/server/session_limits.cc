// Session: how long it waits for its client, and what it says when that is over.
#include <algorithm>

#include "daemon/exchange/error_response.h"
#include "daemon/modes/replayed_request.h"
#include "daemon/server/refusal.h"
#include "daemon/server/session.h"
#include "daemon/server/stream_exchange.h"

namespace tapdeck::server {

void Session::set_read_deadline() {
  if (raw_) {  // a pipe has its own idle timer, which sees both directions
    in_head_ = false;
    read_deadline_.clear();
    return;
  }
  if (active_.empty() && owes()) {
    in_head_ = false;
    // Only windows that open count: whoever asks us other things meanwhile (PING) is not reading.
    const size_t left = codec_->unsent();
    if (!debt_ || left < *debt_) read_deadline_.set(context_.limits.idle_timeout);
    debt_ = left;
    return;
  }
  debt_.reset();
  if (active_.empty() && !codec_->is_idle()) {
    // From the first byte of a head to its last, however slowly the bytes drip.
    if (!in_head_) {
      in_head_ = true;
      exchange::Clock::duration time = context_.limits.header_timeout;
      if (context_.first_head) time -= exchange::Clock::now() - *context_.first_head;
      read_deadline_.set(std::max<exchange::Clock::duration>(time, std::chrono::milliseconds(1)));
    }
    return;
  }
  in_head_ = false;
  bool body_wanted = false;
  for (const auto& exchange : active_) {
    body_wanted = !exchange->request_is_complete();
    if (body_wanted) break;
  }
  if (active_.empty() || body_wanted) {
    read_deadline_.set(context_.limits.idle_timeout);
  } else {
    read_deadline_.clear();  // the origin is at work; its own timeouts bound the wait
  }
}

void Session::on_deadline() {
  if (phase_ != Phase::Open) {
    transport_.close();
    return;
  }
  const Error error{Code::Timeout, in_head_ ? "the request head took too long" : "no byte from the client in time",
                    Origin::Downstream, Retry::No, 0};
  context_.metrics->add(in_head_ ? Counter::LimitHeaderTimeout : Counter::LimitIdleTimeout);
  if (in_head_ && active_.empty() && !codec_->is_multiplexed()) {
    refused_ = true;
    context_.observer->refused(flow_, tls_, error);
    codec_->output().append(refusal(error, flow_.destination));
    settle();
    return;
  }
  if (active_.empty()) {
    refused_ = true;  // an idle connection ends without a word, h2 with a GOAWAY
    codec_->start_drain();
    settle();
    return;
  }
  if (!answer_stalled(error)) lose_client(error);
}

bool Session::answer_stalled(const Error& error) {
  const auto is_stalled = [](const auto& one) { return !one->request_is_complete() && !one->response_has_ended(); };
  bool may_be_told = true;
  for (const auto& exchange : active_) {
    if (!is_stalled(exchange)) continue;
    exchange::note_failure(exchange->facts(), error);
    if (exchange->response_started() || exchange->is_tunnel()) may_be_told = false;
  }
  if (!may_be_told) return false;
  draining_ = true;
  codec_->start_drain();
  for (const auto& exchange : active_) {
    if (!is_stalled(exchange)) continue;
    exchange->answer_failure(error);
    group_.cancel(exchange->task());
  }
  if (!codec_->is_multiplexed()) refused_ = true;  // the rest of the body is no next request
  settle();
  return true;
}

namespace {

// It is the origin that takes so long: the client has said all, or all it can before it hears of the origin.
bool waits_for_origin(StreamExchange& exchange) {
  if (exchange.request_is_complete()) return true;
  if (exchange.response_started()) return false;  // who of the two should go on is not known
  if (exchange.buffered() > 0) return true;       // not taken
  const http::RequestHead& head = exchange.request();
  if (modes::awaits_invitation(exchange) && exchange.facts().request_bytes == 0) return true;
  // A stream of no declared length (gRPC, Connect) may well wait for the head of its answer.
  return head.version == http::Version::Http2 && !head.headers.find("content-length");
}

}  // namespace

void Session::time_out(StreamExchange& exchange) {
  context_.metrics->add(Counter::LimitRequestTimeout);
  const bool is_asked = waits_for_origin(exchange);
  const Error error{Code::Timeout, "the exchange took longer than limits.request_timeout",
                    is_asked ? Origin::Upstream : Origin::Downstream, Retry::No, 0};
  exchange.facts().error = exchange::name_of(error);
  exchange.facts().error_detail = error.message();
  if (exchange.response_started()) {
    give_up(exchange, http::ResetCode::Cancel, error);
  } else {
    if (!exchange.request_is_complete() && !codec_->is_multiplexed()) {  // the rest of the body is no next request
      draining_ = refused_ = true;
      codec_->start_drain();
    }
    exchange.answer_failure(error);
  }
  group_.cancel(exchange.task());
  settle();  // whoever serves it may take a while to end
}

}  // namespace tapdeck::server
