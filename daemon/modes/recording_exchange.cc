#include "daemon/modes/recording_exchange.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "daemon/modes/forward.h"
#include "daemon/modes/grpc_digest.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using store::BodySide;

uint64_t RecordingExchange::elapsed_us() const {
  const auto elapsed = exchange::Clock::now() - inner_.facts().began;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count());
}

void RecordingExchange::submit_ready() {
  if (!builder_.has_writes()) return;
  builder_.take_writes(writes_);
  link_.add(writes_);
}

void RecordingExchange::index_messages(GrpcTee& tee) {
  grpc_ = &tee;
  if (inner_.request_is_bodyless()) tee.request_end(elapsed_us());
}

net::Task<Result<BodyPiece>> RecordingExchange::read_body() {
  auto piece = co_await inner_.read_body();
  if (!piece || tunnel_) co_return piece;
  if (!piece->bytes.empty()) {
    std::optional<std::string_view> extension;
    if (piece->chunk) extension = piece->chunk->extension;
    builder_.body(BodySide::Request, piece->bytes, elapsed_us(), extension);
    body_key_.update(piece->bytes);
    if (grpc_ != nullptr) grpc_->body(BodySide::Request, piece->bytes, elapsed_us());
    submit_ready();
  }
  if (piece->end && grpc_ != nullptr) grpc_->request_end(elapsed_us());
  if (piece->end || (grpc_ != nullptr && grpc_->has_request_message()))
    body_key_.finish(builder_.key_builder());  // before the response: a crash must leave the right key
  if (piece->end && !inner_.request_trailers().empty()) builder_.trailers(BodySide::Request, inner_.request_trailers());
  co_return piece;
}

Result<void> RecordingExchange::inform(const http::ResponseHead& head) {
  builder_.informational(head);
  return inner_.inform(head);
}

Result<void> RecordingExchange::respond(const http::ResponseHead& head, http::EndStream end) {
  if (grpc_ != nullptr) {
    if (grpc_->is_server_first(head, end)) mark_server_first(builder_.key_builder());
    grpc_->response_head(head, elapsed_us());
  }
  builder_.response(head);
  if (is_switch(inner_.request(), head.status)) return inner_.respond(head, end);
  if (end == http::EndStream::Yes) {
    held_ = Held::Head;
    held_head_ = head;
    return {};
  }
  if (const auto length = head.headers.find("content-length")) {
    uint64_t bytes = 0;
    const auto [rest, error] = std::from_chars(length->data(), length->data() + length->size(), bytes);
    if (error == std::errc() && rest == length->data() + length->size()) body_left_ = bytes;
  }
  return inner_.respond(head, end);
}

BodyPiece RecordingExchange::keep(const BodyPiece& piece) {
  std::optional<std::string_view> extension;
  if (piece.chunk) extension = piece.chunk->extension;
  builder_.body(BodySide::Response, piece.bytes, elapsed_us(), extension);
  if (grpc_ != nullptr) grpc_->body(BodySide::Response, piece.bytes, elapsed_us());
  submit_ready();
  BodyPiece passed = piece;
  if (!body_left_) return passed;
  *body_left_ -= std::min<uint64_t>(*body_left_, piece.bytes.size());
  if (*body_left_ == 0 && !passed.bytes.empty()) {
    held_byte_ = passed.bytes.substr(passed.bytes.size() - 1);
    passed.bytes.remove_suffix(1);
  }
  return passed;
}

net::Task<Result<void>> RecordingExchange::write_body(const BodyPiece& piece) {
  if (tunnel_) co_return co_await inner_.write_body(piece);
  const BodyPiece passed = keep(piece);
  if (passed.bytes.empty() && !passed.chunk) co_return Result<void>{};
  co_return co_await inner_.write_body(passed);
}

Result<void> RecordingExchange::write_now(const BodyPiece& piece) {
  if (tunnel_) return inner_.write_now(piece);
  const BodyPiece passed = keep(piece);
  return passed.bytes.empty() && !passed.chunk ? Result<void>{} : inner_.write_now(passed);
}

Result<void> RecordingExchange::end(const http::Headers& trailers) {
  if (tunnel_) return inner_.end(trailers);
  if (!trailers.empty()) builder_.trailers(BodySide::Response, trailers);
  held_ = Held::End;
  held_trailers_ = trailers;
  return {};
}

net::Task<Result<void>> RecordingExchange::release() {
  const Held held = std::exchange(held_, Held::Nothing);
  if (held == Held::Head) co_return inner_.respond(held_head_, http::EndStream::Yes);
  if (held != Held::End) co_return Result<void>{};
  if (!held_byte_.empty()) {
    const BodyPiece last{held_byte_, std::nullopt, true};
    auto written = co_await inner_.write_body(last);
    if (!written) co_return written;
  }
  co_return inner_.end(held_trailers_);
}

void RecordingExchange::become_tunnel() {
  tunnel_ = true;
  inner_.become_tunnel();
}

}  // namespace tapdeck::modes
