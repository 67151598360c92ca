#include "daemon/ws/message_reader.h"

#include <utility>

namespace tapdeck::ws {

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::Text:
      return "text";
    case Kind::Binary:
      return "binary";
    case Kind::Ping:
      return "ping";
    case Kind::Pong:
      return "pong";
    case Kind::Close:
      return "close";
  }
  return "text";
}

MessageReader::MessageReader(const ReaderOptions& options)
    : options_(options), frames_(options.from, options.deflate ? Rsv1::Compressed : Rsv1::Reserved) {
  if (options.deflate) inflater_ = std::make_unique<Inflater>(*options.deflate);
}

Checked<void> MessageReader::feed(std::string_view bytes, std::vector<Message>& out) {
  while (!closed_) {
    auto piece = frames_.next(bytes);
    if (!piece) return std::unexpected(piece.error());
    if (!*piece) return {};
    if (auto taken = take(**piece, out); !taken) return taken;
  }
  return {};
}

Checked<void> MessageReader::take(const FramePiece& piece, std::vector<Message>& out) {
  if (is_control(piece.head.opcode)) return take_control(piece, out);
  if (piece.begins()) {
    if (auto begun = begin_data(piece.head); !begun) return begun;
  }
  if (auto taken = take_data(piece); !taken) return taken;
  if (piece.ends() && piece.head.final) return end_data(out);
  return {};
}

Checked<void> MessageReader::take_control(const FramePiece& piece, std::vector<Message>& out) {
  if (piece.begins()) control_.clear();
  const size_t begin = control_.size();
  control_.append(piece.payload);
  if (piece.head.mask) {
    apply_mask(*piece.head.mask, piece.offset, control_.data() + begin, control_.size() - begin);
  }
  if (!piece.ends()) return {};
  if (piece.head.opcode == Opcode::Close) {
    auto close = end_close();
    if (!close) return std::unexpected(close.error());
    out.push_back(std::move(*close));
    closed_ = true;
    return {};
  }
  Message message;
  message.kind = piece.head.opcode == Opcode::Ping ? Kind::Ping : Kind::Pong;
  message.payload = control_;
  out.push_back(std::move(message));
  return {};
}

Checked<Message> MessageReader::end_close() const {
  Message message;
  message.kind = Kind::Close;
  message.code = kNoStatus;
  if (control_.empty()) return message;
  if (control_.size() == 1) return violation(kProtocolError, "a Close frame has half a code");
  const unsigned code = static_cast<uint8_t>(control_[0]) * 256U + static_cast<uint8_t>(control_[1]);
  if (!is_close_code(code)) return violation(kProtocolError, "close code " + std::to_string(code) + " is not allowed");
  Utf8 text;
  if (!text.feed(std::string_view(control_).substr(2)) || !text.is_complete()) {
    return violation(kInvalidData, "a close reason is not UTF-8");
  }
  message.code = static_cast<uint16_t>(code);
  message.payload = control_.substr(2);
  return message;
}

Checked<void> MessageReader::begin_data(const FrameHead& head) {
  if (head.opcode == Opcode::Continuation) {
    if (!data_) return violation(kProtocolError, "a continuation frame continues nothing");
    return {};
  }
  if (data_) return violation(kProtocolError, "a message begins inside another");
  data_.emplace();
  data_->kind = head.opcode == Opcode::Text ? Kind::Text : Kind::Binary;
  data_->compressed = head.compressed;
  utf8_.reset();
  return {};
}

Checked<void> MessageReader::take_data(const FramePiece& piece) {
  std::string& payload = data_->payload;
  const size_t before = payload.size();
  // Plain: the frame's own length tells early that it cannot fit.
  const uint64_t announced = data_->compressed ? 0 : piece.head.length - piece.offset;
  if (announced > options_.max_message - before) {
    return violation(kTooBig, "a message is longer than " + std::to_string(options_.max_message) + " bytes");
  }
  std::string& into = data_->compressed ? scratch_ : payload;
  if (data_->compressed) scratch_.clear();
  const size_t begin = into.size();
  into.append(piece.payload);
  if (piece.head.mask) apply_mask(*piece.head.mask, piece.offset, into.data() + begin, into.size() - begin);
  if (data_->compressed) {
    if (auto done = inflater_->feed(scratch_, payload, options_.max_message); !done) {
      // What came out before it failed is judged first: the verdict must not depend on where the bytes were cut.
      if (auto checked = check_text(before); !checked) return checked;
      return done;
    }
  }
  return check_text(before);
}

Checked<void> MessageReader::check_text(size_t from) {
  if (data_->kind != Kind::Text || utf8_.feed(std::string_view(data_->payload).substr(from))) return {};
  return violation(kInvalidData, "a text message is not UTF-8");
}

Checked<void> MessageReader::end_data(std::vector<Message>& out) {
  if (data_->compressed) {
    const size_t before = data_->payload.size();
    if (auto done = inflater_->finish(data_->payload, options_.max_message); !done) return done;
    if (auto checked = check_text(before); !checked) return checked;
  }
  if (data_->kind == Kind::Text && !utf8_.is_complete()) {
    return violation(kInvalidData, "a text message ends inside a character");
  }
  out.push_back(std::move(*data_));
  data_.reset();
  return {};
}

}  // namespace tapdeck::ws
