// WebSocketRecorder: reads along with an open WebSocket and keeps its messages. The bytes themselves pass untouched, so
// nothing here can change what either peer sees: extensions are agreed between them, and what cannot be read ends the
// recording, never the connection.
//
// Messages reach the store's log while the connection lives: at once when it is quiet, else ten times a second or every
// 512 KiB. The origin's Close passes on when what came before it is in the log. Owner: a RecordingExchange. Thread: the
// worker's.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "daemon/exchange/exchange.h"
#include "daemon/modes/store_link.h"
#include "daemon/net/deadline.h"
#include "daemon/ws/message_reader.h"
#include "store/recording_builder.h"

namespace tapdeck::modes {

// Outcome::reason of a WebSocket whose client went without a Close, or before its Close was answered: FIN, RST or the
// like. All was said until then.
inline constexpr std::string_view kClientLeft = "client_gone";

class WebSocketRecorder {
 public:
  // `response` opened it. All references outlive the recorder.
  WebSocketRecorder(const http::ResponseHead& response, store::RecordingBuilder& builder, StoreLink& link,
                    exchange::Facts& facts);

  // Raw bytes of one side that pass now.
  void passed(store::BodySide side, std::string_view bytes);
  // Messages are still kept, of one side at least.
  [[nodiscard]] bool is_keeping() const { return sides_[0].reader != nullptr || sides_[1].reader != nullptr; }
  // The store stands still: the connection goes on without it.
  void give_up_on_store();
  // The side ended its direction of the connection.
  void ended(store::BodySide side);
  // The bytes that passed last have the origin's Close in them: await settle() before they go on.
  [[nodiscard]] bool must_settle() const { return must_settle_; }
  net::Task<> settle();
  // The connection is over, `served` says how: ends the recording and fills in facts and metrics.
  net::Task<> finish(Result<void> served);

 private:
  struct Side {
    std::unique_ptr<ws::MessageReader> reader;  // null: nothing can be read any more
    bool closed = false;                        // its Close passed
    bool cut = false;                           // it ended inside a message
  };
  void keep(store::BodySide side, const ws::Message& message);
  void give_up(Side& side, std::string reason, Counter counter);
  void save_soon();
  void save();
  void submit();  // what the builder has ready
  [[nodiscard]] store::Outcome outcome(const Result<void>& served) const;

  store::RecordingBuilder& builder_;
  StoreLink& link_;
  exchange::Facts& facts_;
  Side sides_[2];
  std::optional<store::BodySide> ended_first_;
  std::string gave_up_;  // why messages are missing
  net::Deadline save_timer_;
  bool save_pending_ = false;
  uint64_t since_save_ = 0;  // bytes of payload
  exchange::Clock::time_point saved_at_{};
  bool must_settle_ = false;
  std::vector<ws::Message> messages_;
  std::vector<store::PendingWrite> writes_;
};

}  // namespace tapdeck::modes
