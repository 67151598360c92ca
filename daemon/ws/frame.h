// FrameParser and append_frame: WebSocket frames out of bytes and into bytes (RFC 6455 section 5). Sans-IO.
//
// Knows single frames, not messages (message_reader.h). Payloads are handed out as they lie on the wire, still masked:
// whoever copies them unmasks the copy. Owner: a reader. Thread: any, one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/ws/violation.h"

namespace tapdeck::ws {

enum class Opcode : uint8_t { Continuation = 0, Text = 1, Binary = 2, Close = 8, Ping = 9, Pong = 10 };
[[nodiscard]] constexpr bool is_control(Opcode opcode) {
  return static_cast<uint8_t>(opcode) >= 8;
}

// Whose bytes: a client masks every frame, a server none (5.1).
enum class From : uint8_t { Client, Server };
// What RSV1 means: nothing without permessage-deflate.
enum class Rsv1 : uint8_t { Reserved, Compressed };

using Mask = std::array<uint8_t, 4>;

struct FrameHead {
  Opcode opcode = Opcode::Text;
  bool final = true;
  bool compressed = false;  // RSV1
  uint64_t length = 0;
  std::optional<Mask> mask;
};

// A part of a frame's payload; a frame comes as one or more of them, an empty frame as one.
struct FramePiece {
  FrameHead head;
  std::string_view payload;  // as on the wire; a view into what next() was given
  uint64_t offset = 0;       // of `payload` in the frame
  [[nodiscard]] bool begins() const { return offset == 0; }
  [[nodiscard]] bool ends() const { return offset + payload.size() == head.length; }
};

class FrameParser {
 public:
  FrameParser(From from, Rsv1 rsv1) : from_(from), rsv1_(rsv1) {}

  // Takes from the front of `bytes`; nullopt = all of it was taken and more is needed. A Violation is final: reserved
  // bits and opcodes, control frames that are fragmented or longer than 125, a length with its top bit set, a mask
  // that is missing or should be. Lengths in more bytes than needed are taken: unambiguous, and common servers take
  // them too.
  [[nodiscard]] Checked<std::optional<FramePiece>> next(std::string_view& bytes);
  // Nothing is half-way.
  [[nodiscard]] bool is_between_frames() const { return !in_payload_ && head_size_ == 0; }

 private:
  [[nodiscard]] size_t head_needs() const;
  [[nodiscard]] Checked<void> check_first_bytes() const;
  [[nodiscard]] Checked<void> parse_head();

  From from_;
  Rsv1 rsv1_;
  std::array<uint8_t, 14> head_bytes_{};
  size_t head_size_ = 0;
  bool in_payload_ = false;
  FrameHead head_;
  uint64_t offset_ = 0;
};

// XORs in place; `offset` is that of data[0] in the frame's payload.
void apply_mask(const Mask& mask, uint64_t offset, char* data, size_t size);

enum class Compressed : uint8_t { No, Yes };
// One unfragmented frame at the end of `out`. Control payloads: at most 125 bytes.
void append_frame(std::string& out, Opcode opcode, std::string_view payload, Compressed compressed = Compressed::No,
                  const std::optional<Mask>& mask = std::nullopt);
// Payload of a Close frame; a reason longer than 123 bytes is cut at a character. kNoStatus: empty.
[[nodiscard]] std::string close_payload(uint16_t code, std::string_view reason);

}  // namespace tapdeck::ws
