// MuxStream: what one exchange sees of a shared connection.
#include <algorithm>
#include <utility>
#include <variant>

#include "daemon/upstream/mux.h"

namespace tapdeck::upstream {

using exchange::BodyPiece;

MuxWaiter::MuxWaiter(const asio::any_io_executor& executor)
    : ready(executor), deadline(executor, [this] {
        if (stream != nullptr) stream->on_stalled();
      }) {}

MuxStream::MuxStream(MuxConnection& connection) : connection_(connection), waiter_(connection.take_waiter()) {
  waiter_->stream = this;
}

void MuxStream::watch() {
  const exchange::Clock::duration left = progress_ + idle_timeout() - exchange::Clock::now();
  if (idle_timeout().count() > 0)
    waiter_->deadline.set(std::max<exchange::Clock::duration>(left, std::chrono::milliseconds(1)));
}

void MuxStream::on_stalled() {
  if (exchange::Clock::now() < progress_ + idle_timeout()) return watch();
  failure_ = Error{Code::Timeout, "no byte from " + channel().key.where() + " within the idle timeout",
                   Origin::Upstream, Retry::No, 0};
  waiter_->ready.notify();
  connection_.room_.notify();
}

MuxStream::~MuxStream() {
  if (id_ == 0) {
    --connection_.unsent_lanes_;
  } else {
    connection_.streams_.erase(id_);
    if (!connection_.failure_) {
      // An answer may be whole before its request: what the origin has not taken of that will never be wanted.
      const bool is_over = complete_ && request_ended_ && !connection_.codec_->has_unsent(id_);
      if (!is_over) connection_.codec_->reset(id_, http::ResetCode::Cancel);
      if (unconsumed_ > 0) connection_.codec_->consumed(id_, unconsumed_);
      connection_.writer_.write_soon();
    }
  }
  connection_.give_back(std::move(waiter_));
  connection_.lane_gone();
}

void MuxStream::on_event(const http::Event& event, http::Codec& codec) {
  note_progress();
  if (const auto* head = std::get_if<http::HeadReceived>(&event)) {
    std::swap(waiter_->arrived, codec.response_head());
    has_head_ = true;
    head_end_ = head->end;
    answered_ = true;
  } else if (std::holds_alternative<http::InformationalReceived>(event)) {
    informational_.push_back(std::move(codec.response_head()));
    answered_ = true;
  } else if (const auto* body = std::get_if<http::BodyReceived>(&event)) {
    body_.append(body->bytes);
    unconsumed_ += body->bytes.size();
  } else if (std::holds_alternative<http::TrailersReceived>(event)) {
    trailers_ = codec.trailers();
    has_trailers_ = true;
  } else if (std::holds_alternative<http::MessageComplete>(event)) {
    complete_ = true;
  } else if (const auto* reset = std::get_if<http::StreamReset>(&event)) {
    if (reset->ours && !complete_ && !failure_) {
      failure_ = refusal(*reset);
    } else if (!complete_) {
      reset_ = reset->code;
    }
    connection_.room_.notify();
  }
  waiter_->ready.notify();
}

// Of a response that we did not take.
Error MuxStream::refusal(const http::StreamReset& reset) const {
  const bool limit = reset.code == http::ResetCode::EnhanceYourCalm;
  const char* what = limit ? " sent a head over limits.head_bytes or limits.headers" : " sent a malformed response";
  return Error{limit ? Code::TooLarge : Code::Protocol, channel().key.where() + what, Origin::Upstream, Retry::No, 0};
}

void MuxStream::on_failure(const Error& error) {
  const bool ended = error.code == Code::Closed || error.code == Code::Reset;
  if (answered_ && !complete_ && ended && connection_.away_code_) {
    reset_ = connection_.away_code_;
  } else if (!complete_ && !failure_) {
    failure_ = error;
  }
  waiter_->ready.notify();
}

Error MuxStream::broken() const {
  const std::string name = channel().key.where();
  if (failure_) {
    Error error = *failure_;
    if (error.code == Code::Closed) {
      error.code = answered_ ? Code::Truncated : Code::Reset;
      error.detail = name + (answered_ ? " closed inside a message" : " closed without an answer");
      if (connection_.away_code_) {
        error.detail += ", after a GOAWAY with code " + std::to_string(static_cast<uint32_t>(*connection_.away_code_));
      }
    }
    return error;
  }
  const auto code = static_cast<uint32_t>(reset_.value_or(http::ResetCode::NoError));
  const bool untouched = reset_ == http::ResetCode::RefusedStream && !answered_;
  return Error{Code::Reset, name + " reset the stream with code " + std::to_string(code), Origin::Upstream,
               untouched ? Retry::Yes : Retry::No, 0};
}

net::Task<Result<void>> MuxStream::wait(net::Signal& signal, const char* what) {
  ++waits_;
  watch();  // counted from the last progress: others wake us for nothing, again and again
  co_await signal.wait();
  if (--waits_ == 0) waiter_->deadline.clear();
  const bool wanted = co_await net::is_wanted();
  if (!wanted) co_return fail(Code::Cancelled, what, Origin::Internal);
  co_return Result<void>{};
}

bool MuxStream::is_settled() const {
  return connection_.codec_->knows_peer();
}

net::Task<Result<void>> MuxStream::settle() {
  note_progress();
  while (!is_settled() && !connection_.failure_) {
    CO_TRY_VOID(co_await wait(connection_.room_, "the request is not wanted any more"));
    if (failure_) co_return std::unexpected(broken());
  }
  if (connection_.failure_) co_return std::unexpected(ended());
  co_return Result<void>{};
}

Error MuxStream::ended() {
  return Error{Code::Closed, "the shared connection has ended", Origin::Upstream, Retry::Yes, 0};
}

// HTTP/1.0 need not say whom it asks, and servers of HTTP/2 mostly want to be told: it is who the connection goes to.
std::string MuxStream::authority() const {
  const Key& key = channel().key;
  if (key.server_name.empty()) return key.where();
  const bool is_default = key.address.port == 443;
  return is_default ? key.server_name : key.server_name + ':' + std::to_string(key.address.port);
}

Result<void> MuxStream::send_request(const http::RequestHead& head, http::EndStream end) {
  if (connection_.failure_) return std::unexpected(ended());
  std::optional<http::RequestHead> named;
  if (head.version == http::Version::Http10 && head.authority.empty()) {
    named = head;
    named->authority = authority();
  }
  auto stream = connection_.codec_->send_request(named ? *named : head, end);
  if (!stream) {
    Error error = stream.error();
    if (error.code == Code::Exhausted) error.retry = Retry::Yes;
    return std::unexpected(std::move(error));
  }
  id_ = *stream;
  --connection_.unsent_lanes_;
  connection_.served_ = true;
  arrivals_before_ = connection_.arrivals_;
  connection_.streams_.emplace(id_, this);
  request_ended_ = end == http::EndStream::Yes;
  return {};
}

net::Task<Result<void>> MuxStream::send_body(BodyPiece piece) {
  note_progress();
  while (true) {
    if (failure_ || reset_) co_return std::unexpected(broken());
    CO_TRY(accepted, connection_.codec_->send_body(id_, piece.bytes));
    piece.bytes.remove_prefix(accepted);
    if (accepted > 0) note_progress();
    if (piece.bytes.empty()) break;
    connection_.writer_.write_now();
    if (connection_.codec_->send_capacity(id_) > 0) continue;
    CO_TRY_VOID(co_await wait(connection_.room_, "the rest of the request body is not wanted"));
  }
  connection_.writer_.write_soon();
  while (connection_.writer_.is_clogged()) {
    connection_.writer_.write_now();
    if (!connection_.writer_.is_clogged()) break;
    CO_TRY_VOID(co_await wait(connection_.room_, "the rest of the request body is not wanted"));
    if (failure_ || reset_) co_return std::unexpected(broken());
  }
  co_return Result<void>{};
}

Result<void> MuxStream::send_end(const http::Headers& trailers) {
  if (failure_ || reset_) return std::unexpected(broken());
  request_ended_ = true;
  return connection_.codec_->send_end(id_, trailers);
}

Result<std::optional<http::Event>> MuxStream::try_next() {
  body_.consume(std::exchange(handed_out_, 0));
  if (!informational_.empty()) {
    waiter_->head = std::move(informational_.front());
    informational_.erase(informational_.begin());
    return http::InformationalReceived{id_};
  }
  if (std::exchange(has_head_, false)) {
    std::swap(waiter_->head, waiter_->arrived);
    return http::HeadReceived{id_, head_end_};
  }
  if (!body_.empty()) {
    handed_out_ = body_.front().size();
    return http::BodyReceived{id_, body_.front(), std::nullopt};
  }
  if (std::exchange(has_trailers_, false)) return http::TrailersReceived{id_};
  if (complete_ && !std::exchange(told_complete_, true)) return http::MessageComplete{id_};
  if (failure_) return std::unexpected(broken());
  if (reset_) return http::StreamReset{id_, *reset_};
  return std::optional<http::Event>{};
}

net::Task<Result<std::optional<http::Event>>> MuxStream::next() {
  note_progress();
  while (true) {
    auto event = try_next();
    if (!event || event->has_value()) co_return event;
    CO_TRY_VOID(co_await wait(waiter_->ready, "the answer is not wanted any more"));
  }
}

void MuxStream::consumed(size_t n) {
  unconsumed_ -= std::min(n, unconsumed_);
  if (connection_.failure_) return;
  connection_.codec_->consumed(id_, n);
  connection_.writer_.write_soon();
}

net::Task<Result<BodyPiece>> MuxStream::read_tunnel() {
  if (handed_out_ > 0) consumed(handed_out_);
  while (true) {
    CO_TRY(event, try_next());
    if (!event) {
      co_await waiter_->ready.wait();
      const bool wanted = co_await net::is_wanted();
      if (!wanted) {
        co_return fail(Code::Cancelled, "the tunnel is not wanted any more", Origin::Internal);
      }
    } else if (const auto* body = std::get_if<http::BodyReceived>(&*event)) {
      co_return BodyPiece{body->bytes, std::nullopt, false};
    } else if (std::holds_alternative<http::MessageComplete>(*event)) {
      co_return BodyPiece{{}, std::nullopt, true};
    } else if (std::holds_alternative<http::StreamReset>(*event)) {
      co_return std::unexpected(broken());
    }
  }
}

net::Task<Result<void>> MuxStream::write_tunnel(BodyPiece piece) {
  return send_body(BodyPiece{piece.bytes, std::nullopt, false});
}

void MuxStream::end_tunnel() {
  if (std::exchange(tunnel_ended_, true) || connection_.failure_) return;
  const http::Headers none;
  ignore(send_end(none), "a broken stream is seen by the reading side");
  connection_.writer_.write_soon();
}

void MuxStream::abandon(http::ResetCode code) {
  if (failure_ || connection_.failure_) return;
  failure_ = Error{Code::Cancelled, "the exchange was given up", Origin::Internal, Retry::No, 0};
  if (id_ != 0) connection_.codec_->reset(id_, code);
  connection_.writer_.write_soon();
  waiter_->ready.notify();
  connection_.room_.notify();
}

}  // namespace tapdeck::upstream
