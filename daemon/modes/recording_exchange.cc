#include "daemon/modes/recording_exchange.h"

#include <algorithm>
#include <utility>

#include "daemon/grpc/call.h"
#include "daemon/modes/forward.h"
#include "daemon/modes/grpc_digest.h"
#include "daemon/modes/limited_exchange.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/question.h"
#include "daemon/modes/rendition.h"
#include "daemon/modes/replayed_request.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"
#include "daemon/ws/handshake.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using store::BodySide;

namespace {

// A client that has gone answers the first byte by a reset, in the time that its way takes. One that is there may take
// 40 ms to acknowledge it, and is given the rest at the latest then.
constexpr std::chrono::milliseconds kWayOfReset{100};

net::Task<Result<void>> nothing_to_do() {
  co_return Result<void>{};
}

net::Task<> store_delivery(exchange::Exchange& exchange, Result<void>& delivered) {
  delivered = co_await exchange.deliver();
}

}  // namespace

uint64_t RecordingExchange::elapsed_us() const {
  const auto elapsed = exchange::Clock::now() - inner_.facts().began;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count());
}

void RecordingExchange::submit_ready() {
  if (!builder_.has_writes()) return;
  builder_.take_writes(writes_);
  link_.add(writes_);
}

store::KeyBuilder RecordingExchange::key_so_far() const {
  store::KeyBuilder key = builder_.key_builder();
  const bool speaks_first = grpc_ != nullptr && !has_read_request() && !grpc_->has_request_message();
  if (speaks_first) key.canonical_body({});
  if (is_early()) make_early(key, inner_.request());
  return key;
}

bool RecordingExchange::is_early() const {
  if (has_read_request() || grpc_ != nullptr || !has_body(inner_)) return false;
  const bool uninvited = builder_.body_size(BodySide::Request) == 0 && awaits_invitation(inner_);
  return !uninvited;
}

// What is faster than a segment a look is written as segments alone, and needs nothing more.
void RecordingExchange::on_beat() {
  if (passes() || --beats_left_ > 0) return;
  beats_left_ = 1;
  if (late_ && late_->is_seen(exchange::Clock::now())) keep_late();
  if (!link_.has_room()) return;
  beats_left_ = kBeatsBetween;
  const bool whole_key = has_read_request();
  const bool is_saved = builder_.is_saved(seen_[0], seen_[1]) && saved_whole_key_ == whole_key;
  for (const BodySide side : {BodySide::Request, BodySide::Response})
    seen_[static_cast<size_t>(side)] = builder_.body_size(side);
  if (is_saved) return;
  saved_whole_key_ = whole_key;
  const store::KeyBuilder key = key_so_far();
  builder_.checkpoint(&key);
  submit_ready();
}

bool RecordingExchange::bypass(BodySide side, size_t bytes, std::optional<uint64_t> announced) {
  if (side == BodySide::Response && inner_.facts().is_own_answer) return bypassed_;
  const uint64_t late = late_ && side == BodySide::Response ? late_->bytes : 0;
  const uint64_t length = std::max(announced.value_or(0), builder_.body_size(side) + late + bytes);
  if (bypassed_ || length <= bounds_.bypass) return bypassed_;
  bypassed_ = true;
  builder_.abandon();
  submit_ready();
  return true;
}

net::Task<Result<void>> RecordingExchange::keep_pace() {
  auto room = co_await link_.room();
  if (room) co_return room;
  if (room.error().code == Code::Cancelled) co_return room;
  bypassed_ = lost_ = true;
  builder_.abandon();
  submit_ready();
  if (bounds_.strict == Strict::No) co_return Result<void>{};  // traffic first
  co_return fail(Code::Exhausted, "the store does not keep up, and the target is strict", Origin::Store);
}

net::Task<Result<void>> RecordingExchange::keep_pace_of_messages() {
  auto room = co_await link_.room();
  if (room || room.error().code == Code::Cancelled) co_return room;
  websocket_->give_up_on_store();
  co_return Result<void>{};
}

void RecordingExchange::index_messages(GrpcTee& tee) {
  grpc_ = &tee;
  if (const auto timeout = grpc::timeout_of(inner_.request().headers)) deadline_ = inner_.facts().began + *timeout;
  if (inner_.request_is_bodyless()) tee.request_end(elapsed_us());
}

net::Task<Result<BodyPiece>> RecordingExchange::read_body() {
  auto piece = co_await inner_.read_body();
  if (piece && websocket_) websocket_->passed(BodySide::Request, piece->bytes);
  if (piece && websocket_) piece->more = false;  // before the next one the store may be waited for
  if (piece && piece->end) request_read_ = true;
  if (piece && piece->end && websocket_) websocket_->ended(BodySide::Request);
  if (piece && is_behind()) CO_TRY_VOID(co_await keep_pace_of_messages());
  if (!piece || passes()) co_return piece;
  if (bypass(BodySide::Request, piece->bytes.size(), std::nullopt)) co_return piece;
  if (!piece->bytes.empty()) {
    std::optional<std::string_view> extension;
    if (piece->chunk) extension = piece->chunk->extension;
    builder_.body(BodySide::Request, piece->bytes, elapsed_us(), extension);
    body_key_.update(piece->bytes);
    if (grpc_ != nullptr) grpc_->body(BodySide::Request, piece->bytes, elapsed_us());
    submit_ready();
    if (!link_.has_room()) CO_TRY_VOID(co_await keep_pace());
  }
  // An entry without bytes in the timeline keeps what no piece shows: the moment at which a request ended whose answer
  // had begun, and the extension of the last chunk of HTTP/1, which has no bytes.
  const bool is_last_chunk = piece->bytes.empty() && piece->chunk;
  const bool ends_late = piece->end && builder_.recording().response.status != 0;
  if (grpc_ == nullptr && (ends_late || is_last_chunk)) {
    const std::string_view extension = is_last_chunk ? piece->chunk->extension : std::string_view();
    builder_.body(BodySide::Request, {}, elapsed_us(), extension);
  }
  if (piece->end && grpc_ != nullptr) grpc_->request_end(elapsed_us());
  if (piece->end || (grpc_ != nullptr && grpc_->has_request_message()))
    body_key_.finish(builder_.key_builder());  // before the response: a crash must leave the right key
  if (piece->end && !inner_.request_trailers().empty()) builder_.trailers(BodySide::Request, inner_.request_trailers());
  co_return piece;
}

bool RecordingExchange::has_read_enough() const {
  if (request_read_ || passes() || inner_.request_is_bodyless()) return true;
  if (grpc_ != nullptr && grpc_->has_request_message()) return true;
  return awaits_invitation(inner_);  // it may rightly send nothing
}

net::Task<> RecordingExchange::read_on() {
  while (!has_read_enough()) {
    auto piece = co_await read_body();
    if (!piece) co_return;
  }
}

net::Task<> RecordingExchange::read_rest() {
  if (has_read_enough()) co_return;
  net::TaskGroup reader(link_.executor());
  net::Deadline deadline(link_.executor(), [&reader] { reader.cancel(); });
  deadline.set(kRestOfBody);
  reader.spawn(read_on());
  co_await reader.join();
}

Result<void> RecordingExchange::inform(const http::ResponseHead& head) {
  if (!passes()) builder_.informational(head);
  return inner_.inform(head);
}

Result<void> RecordingExchange::respond(const http::ResponseHead& head, http::EndStream end) {
  if (passes()) return inner_.respond(head, end);
  const bool switches = is_switch(inner_.request(), head.status);
  const bool holds = end == http::EndStream::Yes && !switches;
  if (!holds) TRY_VOID(inner_.respond(head, end));  // first: a client that is gone got no response
  if (may_be_gone() && !switches) {
    in_doubt_ = head;
  } else if (LateAnswer* behind = late()) {
    behind->head = LateAnswer::Head{head, end, elapsed_us()};
  } else {
    keep_head(head, end, elapsed_us());
  }
  if (holds) {
    held_ = Held::Head;
    held_head_ = head;
  } else if (!switches) {
    body_left_ = content_length_of(head.headers);
    ignore(bypass(BodySide::Response, 0, body_left_), "either way the head went on");
    if (!bypassed_) link_.watch(*this);
  }
  return {};
}

// Its end of the connection has no more to say, or is no more.
bool RecordingExchange::may_be_gone() {
  return inner_.facts().client_ended && inner_.request().version != http::Version::Http2;
}

void RecordingExchange::keep_head(const http::ResponseHead& head, http::EndStream end, uint64_t microseconds) {
  // What a condition or a range made of the response answers nothing else.
  if (answers_a_condition(head.status)) {
    const std::string condition = condition_of(inner_.request());
    if (!condition.empty()) builder_.key_builder().dimension(kConditionDimension, condition);
  }
  if (grpc_ != nullptr) {
    if (grpc_->is_server_first(head, end)) mark_server_first(builder_.key_builder());
    grpc_->response_head(head, microseconds);
  }
  builder_.response(head);
}

net::Task<Result<void>> RecordingExchange::resolve_doubt() {
  CO_TRY_VOID(co_await inner_.flush());  // by itself: a write that is broken off loses the client
  if (held_ == Held::Head && !std::exchange(head_is_sent_, true))
    CO_TRY_VOID(inner_.respond(held_head_, http::EndStream::Yes));
  Result<void> delivered;
  net::TaskGroup reader(link_.executor());
  net::Deadline deadline(link_.executor(), [&reader] { reader.cancel(); });
  deadline.set(kWayOfReset);
  reader.spawn(store_delivery(inner_, delivered));
  co_await reader.join_or_cancel();
  if (!delivered && !deadline.is_expired()) co_return delivered;
  const http::ResponseHead head = std::move(*in_doubt_);
  in_doubt_.reset();
  keep_head(head, held_ == Held::Head ? http::EndStream::Yes : http::EndStream::No, elapsed_us());
  co_return Result<void>{};
}

net::Task<Result<void>> RecordingExchange::write_if_read(BodyPiece piece) {
  CO_TRY_VOID(co_await resolve_doubt());
  co_return co_await write_body(piece);
}

net::Task<Result<void>> RecordingExchange::flush() {
  return in_doubt_ ? resolve_doubt() : inner_.flush();
}

Result<bool> RecordingExchange::try_flush() {
  if (in_doubt_) return false;
  return inner_.try_flush();
}

LateAnswer* RecordingExchange::late() {
  if (!deadline_) return nullptr;
  const auto now = exchange::Clock::now();
  if (now < *deadline_) return nullptr;
  if (late_ && late_->is_seen(now)) keep_late();
  if (!late_) late_ = std::make_unique<LateAnswer>(now);
  return late_.get();
}

void RecordingExchange::keep_late() {
  const std::unique_ptr<LateAnswer> behind = std::move(late_);
  if (!behind || passes()) return;
  if (behind->head) keep_head(behind->head->head, behind->head->end, behind->head->microseconds);
  for (const LateAnswer::Piece& piece : behind->pieces) keep_bytes(piece.bytes, piece.extension, piece.microseconds);
  if (behind->ended && !held_trailers_.empty()) builder_.trailers(BodySide::Response, held_trailers_);
}

void RecordingExchange::drop_late() {
  came_late_ = late_ != nullptr;
  late_.reset();
}

void RecordingExchange::keep_bytes(std::string_view bytes, std::optional<std::string_view> extension,
                                   uint64_t microseconds) {
  builder_.body(BodySide::Response, bytes, microseconds, extension);
  if (grpc_ != nullptr) grpc_->body(BodySide::Response, bytes, microseconds);
  submit_ready();
}

BodyPiece RecordingExchange::keep(const BodyPiece& piece) {
  std::optional<std::string_view> extension;
  if (piece.chunk) extension = piece.chunk->extension;
  if (LateAnswer* behind = late()) {
    behind->pieces.push_back({std::string(piece.bytes), std::optional<std::string>(extension), elapsed_us()});
    behind->bytes += piece.bytes.size();
  } else {
    keep_bytes(piece.bytes, extension, elapsed_us());
  }
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
  if (websocket_) return write_message(piece);
  if (in_doubt_) return write_if_read(piece);
  if (passes() || bypass(BodySide::Response, piece.bytes.size(), std::nullopt)) return inner_.write_body(piece);
  passed_ = keep(piece);
  if (!link_.has_room()) return write_at_pace(piece);
  if (passed_.bytes.empty() && !passed_.chunk) return nothing_to_do();
  return inner_.write_body(passed_);
}

net::Task<Result<void>> RecordingExchange::write_message(const BodyPiece& piece) {
  websocket_->passed(BodySide::Response, piece.bytes);
  // What came before it does not wait with it.
  if (websocket_->must_settle() || is_behind()) CO_TRY_VOID(co_await inner_.flush());
  if (websocket_->must_settle()) co_await websocket_->settle();
  if (is_behind()) CO_TRY_VOID(co_await keep_pace_of_messages());
  co_return co_await inner_.write_body(piece);
}

// The store is behind: the client waits with us, as long as it may.
net::Task<Result<void>> RecordingExchange::write_at_pace(const BodyPiece& piece) {
  CO_TRY_VOID(co_await keep_pace());
  if (lost_) co_return co_await inner_.write_body(piece);  // the byte that was to be held too
  if (passed_.bytes.empty() && !passed_.chunk) co_return Result<void>{};
  co_return co_await inner_.write_body(passed_);
}

Result<void> RecordingExchange::write_now(const BodyPiece& piece) {
  if (passes() || bypass(BodySide::Response, piece.bytes.size(), std::nullopt)) return inner_.write_now(piece);
  const BodyPiece passed = keep(piece);
  return passed.bytes.empty() && !passed.chunk ? Result<void>{} : inner_.write_now(passed);
}

Result<void> RecordingExchange::end(const http::Headers& trailers) {
  if (websocket_) websocket_->ended(BodySide::Response);
  if (passes()) return inner_.end(trailers);
  if (LateAnswer* behind = late()) {
    behind->ended = true;
  } else if (!trailers.empty()) {
    builder_.trailers(BodySide::Response, trailers);
  }
  held_ = Held::End;
  held_trailers_ = trailers;
  return {};
}

Result<bool> RecordingExchange::release_now() {
  if (held_ == Held::End && !held_byte_.empty()) {
    if (inner_.writable_now() < held_byte_.size()) return false;
    const BodyPiece last{held_byte_, std::nullopt, true};
    TRY_VOID(inner_.write_now(last));
  }
  const Held held = std::exchange(held_, Held::Nothing);
  if (held == Held::Head && !head_is_sent_) TRY_VOID(inner_.respond(held_head_, http::EndStream::Yes));
  if (held == Held::End) TRY_VOID(inner_.end(held_trailers_));
  return true;
}

net::Task<Result<void>> RecordingExchange::release() {
  const Held held = std::exchange(held_, Held::Nothing);
  if (held == Held::Head && !head_is_sent_) co_return inner_.respond(held_head_, http::EndStream::Yes);
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
  const http::ResponseHead& response = builder_.recording().response;
  if (ws::is_opened(inner_.request(), response)) {
    websocket_ = std::make_unique<WebSocketRecorder>(response, builder_, link_, inner_.facts());
  } else {
    builder_.abandon();  // parts of its body may be on their way already
    submit_ready();
  }
  inner_.become_tunnel();
}

}  // namespace tapdeck::modes
