#include "daemon/grpc/message_scanner.h"

#include <algorithm>

namespace tapdeck::grpc {

Result<std::optional<MessagePiece>> MessageScanner::next(std::string_view& bytes) {
  if (failed_) return fail(Code::Protocol, "gRPC messages after a malformed one");
  while (prefix_size_ < kPrefixBytes) {
    if (bytes.empty()) return std::nullopt;
    prefix_[prefix_size_++] = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    if (prefix_size_ == 1 && prefix_[0] > 1) {
      failed_ = true;
      return fail(Code::Protocol, "gRPC message with the flag byte " + std::to_string(prefix_[0]));
    }
    if (prefix_size_ < kPrefixBytes) continue;
    left_ = 0;
    for (size_t i = 1; i < kPrefixBytes; ++i) left_ = left_ << 8 | prefix_[i];
    begins_ = true;
  }
  if (bytes.empty() && left_ > 0) return std::nullopt;
  MessagePiece piece;
  piece.bytes = bytes.substr(0, left_);
  piece.begins = begins_;
  piece.compressed = prefix_[0] == 1;
  for (size_t i = 1; i < kPrefixBytes; ++i) piece.length = piece.length << 8 | prefix_[i];
  bytes.remove_prefix(piece.bytes.size());
  left_ -= static_cast<uint32_t>(piece.bytes.size());
  begins_ = false;
  piece.ends = left_ == 0;
  if (piece.ends) prefix_size_ = 0;
  return piece;
}

}  // namespace tapdeck::grpc
