// RecordingExchange: an Exchange seen through a RecordingBuilder: everything passes on and leaves a copy, and the last
// bytes of the response wait in here until release(). A response that lasts is saved every second, so that a crash
// leaves what the client has seen of it. A client of HTTP/1 that had ended its side before the answer came may read it
// or be gone: the answer counts as given when its head was taken. So may the client of a gRPC call whose deadline has
// passed: what it is sent then is recorded a moment later (late_answer.h).
//
// Owner: the RecordHandler's coroutine. Thread: the worker's.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "daemon/exchange/exchange_decorator.h"
#include "daemon/modes/body_key.h"
#include "daemon/modes/grpc_tee.h"
#include "daemon/modes/late_answer.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/modes/store_link.h"
#include "daemon/modes/websocket_recorder.h"
#include "store/recording_builder.h"

namespace tapdeck::modes {

struct RecordingBounds {
  uint64_t bypass = UINT64_MAX;  // a body of more bytes ends the recording, not the exchange
  Strict strict = Strict::No;    // Yes: a body that the store does not keep up with ends the exchange
};

class RecordingExchange final : public exchange::ExchangeDecorator, private StoreLink::Watched {
 public:
  // Full body segments go to `link` as they fill.
  RecordingExchange(exchange::Exchange& inner, store::RecordingBuilder& builder, BodyKey& body_key, StoreLink& link,
                    RecordingBounds bounds = {})
      : ExchangeDecorator(inner), builder_(builder), body_key_(body_key), link_(link), bounds_(bounds) {}

  // `tee` is told what passes, from now on; it must stay alive.
  void index_messages(GrpcTee& tee);

  // Reads on what the client still sends of its request, for the recording and its key, for at most kRestOfBody: the
  // origin failed before it had read it. Of a gRPC call the first message is enough.
  net::Task<> read_rest();
  // The client has sent all of its request.
  [[nodiscard]] bool has_read_request() const { return request_read_ || inner_.request_is_bodyless(); }
  // An answer now would come before the request's body has, and is found by its head alone (kEarlyDimension). Not what
  // comes instead of "100 Continue": that is found by the request without its body.
  [[nodiscard]] bool is_early() const;
  // The response is whole and only waits for release().
  [[nodiscard]] bool is_held() const { return held_ != Held::Nothing; }
  // The client had ended its side when the answer came, and it is not known yet whether it reads on.
  [[nodiscard]] bool is_in_doubt() const { return in_doubt_.has_value(); }
  // Of one that is_in_doubt(): sends what is queued, of an answer without a body all but its last byte, and waits a
  // moment for the reset of a client that is gone. Error Closed: it is, and the answer stays in doubt; nothing of it is
  // recorded.
  net::Task<Result<void>> resolve_doubt();
  // Something came behind the deadline of a gRPC call. Recorded it is when its client is still there, and not at all
  // when that had left.
  [[nodiscard]] bool has_late() const { return late_ != nullptr && !passes(); }
  void keep_late();
  void drop_late();
  // Some of the answer was dropped so.
  [[nodiscard]] bool came_late() const { return came_late_; }
  // Sends what was held.
  net::Task<Result<void>> release();
  // The same without waiting; false: the client's window is closed, nothing was sent, release() waits for it.
  Result<bool> release_now();
  [[nodiscard]] bool became_tunnel() const { return tunnel_; }
  // Nothing is recorded, and nothing is held: a body was too long, or the store did not keep up with one.
  [[nodiscard]] bool is_bypassed() const { return bypassed_; }
  [[nodiscard]] bool is_lost() const { return lost_ || link_.was_refused(builder_.id()); }
  // Of a tunnel that is a WebSocket; nullptr: it is not.
  [[nodiscard]] WebSocketRecorder* websocket() { return websocket_.get(); }

  net::Task<Result<exchange::BodyPiece>> read_body() override;
  Result<void> inform(const http::ResponseHead& head) override;
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override;
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override;
  Result<void> write_now(const exchange::BodyPiece& piece) override;
  Result<void> end(const http::Headers& trailers) override;
  net::Task<Result<void>> flush() override;
  Result<bool> try_flush() override;
  void become_tunnel() override;
  bool response_started() const override { return inner_.response_started() || held_ == Held::Head; }

 private:
  // Of StoreLink, in quarters of a second: none of an exchange that is over within three of them costs the store a row.
  static constexpr uint8_t kBeatsBefore = 4;
  static constexpr uint8_t kBeatsBetween = 2;
  enum class Held { Nothing, Head, End };
  [[nodiscard]] uint64_t elapsed_us() const;
  void submit_ready();
  void on_beat() override;
  // What a crash leaves of it is found by this.
  [[nodiscard]] store::KeyBuilder key_so_far() const;
  net::Task<> read_on();
  [[nodiscard]] bool has_read_enough() const;
  // Waits while the store is behind; gives the recording up when it stays so. Error Exhausted: and the exchange.
  net::Task<Result<void>> keep_pace();
  // The same for a WebSocket that is_behind(), whose messages it gives up.
  [[nodiscard]] bool is_behind() const { return websocket_ && websocket_->is_keeping() && !link_.has_room(); }
  net::Task<Result<void>> keep_pace_of_messages();
  [[nodiscard]] bool passes() const { return tunnel_ || bypassed_; }
  // True when `announced` bytes, or `bytes` more than that side's body has, are more than may be recorded.
  bool bypass(store::BodySide side, size_t bytes, std::optional<uint64_t> announced);
  // Takes the copy and cuts off what must be held; what is left goes on.
  net::Task<Result<void>> write_at_pace(const exchange::BodyPiece& piece);
  net::Task<Result<void>> write_message(const exchange::BodyPiece& piece);
  [[nodiscard]] exchange::BodyPiece keep(const exchange::BodyPiece& piece);
  void keep_bytes(std::string_view bytes, std::optional<std::string_view> extension, uint64_t microseconds);
  [[nodiscard]] bool may_be_gone();
  void keep_head(const http::ResponseHead& head, http::EndStream end, uint64_t microseconds);
  // Where a piece of the answer that comes now belongs; null: on the recording.
  [[nodiscard]] LateAnswer* late();
  net::Task<Result<void>> write_if_read(exchange::BodyPiece piece);

  store::RecordingBuilder& builder_;
  BodyKey& body_key_;
  GrpcTee* grpc_ = nullptr;  // of a gRPC call
  StoreLink& link_;
  Held held_ = Held::Nothing;
  http::ResponseHead held_head_;
  std::optional<http::ResponseHead> in_doubt_;
  bool head_is_sent_ = false;  // of Held::Head
  std::string held_byte_;      // the last body byte under Content-Length
  http::Headers held_trailers_;
  std::optional<uint64_t> body_left_;                    // under Content-Length
  std::optional<exchange::Clock::time_point> deadline_;  // of a gRPC call
  std::unique_ptr<LateAnswer> late_;                     // most calls have none
  bool came_late_ = false;
  std::vector<store::PendingWrite> writes_;
  exchange::BodyPiece passed_;  // what inner_.write_body() is writing
  RecordingBounds bounds_;
  bool request_read_ = false;  // to its end
  uint8_t beats_left_ = kBeatsBefore;
  uint64_t seen_[2] = {};         // bytes of the bodies at the last look, by side
  bool saved_whole_key_ = false;  // with the request read
  bool tunnel_ = false;
  bool bypassed_ = false;
  bool lost_ = false;
  std::unique_ptr<WebSocketRecorder> websocket_;
};

}  // namespace tapdeck::modes
