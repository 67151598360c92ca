// MessageScanner: finds the messages in the body of a gRPC request or response: a flag byte, four bytes of length, the
// message (the "Length-Prefixed-Message" of gRPC's PROTOCOL-HTTP2.md).
//
// Sans-IO, and copies nothing: it hands out views of what it is given, so a message of any size costs no memory here.
// Not a decoder of compressed messages. Owner: one direction of one exchange. Thread: its worker's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::grpc {

// Bytes before each message.
inline constexpr size_t kPrefixBytes = 5;

// A part of a message; a message comes as one or more of them, an empty message as one with both marks.
struct MessagePiece {
  std::string_view bytes;  // without the prefix
  bool begins = false;
  bool ends = false;
  bool compressed = false;
  uint32_t length = 0;  // of the whole message, without the prefix
};

class MessageScanner {
 public:
  // Takes from the front of `bytes`; nullopt when all of it is used up. Protocol: a flag byte other than 0 and 1; from
  // then on every call fails, because where messages begin is not known any more.
  [[nodiscard]] Result<std::optional<MessagePiece>> next(std::string_view& bytes);
  // No message is unfinished: the body may end here.
  [[nodiscard]] bool is_between() const { return prefix_size_ == 0 && !failed_; }

 private:
  std::array<uint8_t, kPrefixBytes> prefix_{};
  size_t prefix_size_ = 0;  // all of it read: inside a message
  uint32_t left_ = 0;
  bool begins_ = false;
  bool failed_ = false;
};

}  // namespace tapdeck::grpc
