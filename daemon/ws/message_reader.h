// MessageReader: the WebSocket messages in one direction of a connection: unmasked, joined, inflated, checked.
//
// Sans-IO and bounded: it holds at most one message (control frames come out between the fragments of another). It
// never answers; what to do about pings, closes and violations is its user's. Owner: a tee or a player. Thread: any.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/ws/deflate.h"
#include "daemon/ws/frame.h"
#include "daemon/ws/utf8.h"

namespace tapdeck::ws {

enum class Kind : uint8_t { Text, Binary, Ping, Pong, Close };
[[nodiscard]] std::string_view to_string(Kind kind);

struct Message {
  Kind kind = Kind::Text;
  bool compressed = false;
  uint16_t code = 0;    // Close only; kNoStatus when it had none
  std::string payload;  // of a Close: the reason
};

struct ReaderOptions {
  From from = From::Client;
  std::optional<Context> deflate;  // permessage-deflate was agreed, and what this direction's sender keeps
  size_t max_message = 16 << 20;   // inflated bytes
};

class MessageReader {
 public:
  explicit MessageReader(const ReaderOptions& options);

  // Appends the messages that are whole with these bytes. A Violation is final: nothing is read afterwards. What came
  // before it in the same bytes is in `out`. Bytes behind a Close are ignored (RFC 6455 1.4).
  [[nodiscard]] Checked<void> feed(std::string_view bytes, std::vector<Message>& out);
  [[nodiscard]] bool is_closed() const { return closed_; }
  // The stream may end here without cutting a message in two.
  [[nodiscard]] bool is_between_messages() const { return !data_ && frames_.is_between_frames(); }

 private:
  [[nodiscard]] Checked<void> take(const FramePiece& piece, std::vector<Message>& out);
  [[nodiscard]] Checked<void> take_control(const FramePiece& piece, std::vector<Message>& out);
  [[nodiscard]] Checked<void> begin_data(const FrameHead& head);
  [[nodiscard]] Checked<void> take_data(const FramePiece& piece);
  [[nodiscard]] Checked<void> check_text(size_t from);
  [[nodiscard]] Checked<void> end_data(std::vector<Message>& out);
  [[nodiscard]] Checked<Message> end_close() const;

  ReaderOptions options_;
  FrameParser frames_;
  std::unique_ptr<Inflater> inflater_;
  std::optional<Message> data_;  // begun and not whole
  Utf8 utf8_;
  std::string control_;
  std::string scratch_;  // an unmasked piece on its way into the inflater
  bool closed_ = false;
};

}  // namespace tapdeck::ws
