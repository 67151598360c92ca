#include "daemon/ws/frame.h"

#include <algorithm>
#include <cstring>

namespace tapdeck::ws {

namespace {

constexpr uint8_t kFin = 0x80, kRsv1Bit = 0x40, kRsv23Bits = 0x30, kMaskBit = 0x80;
constexpr size_t kMaxControl = 125;

bool is_known(uint8_t opcode) {
  return opcode <= 2 || (opcode >= 8 && opcode <= 10);
}

}  // namespace

size_t FrameParser::head_needs() const {
  if (head_size_ < 2) return 2;
  const uint8_t length = head_bytes_[1] & 0x7f;
  const size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  return 2 + extended + ((head_bytes_[1] & kMaskBit) != 0 ? 4 : 0);
}

// What is wrong shows in the first two bytes: it is said before the rest of the frame came.
Checked<void> FrameParser::check_first_bytes() const {
  const uint8_t first = head_bytes_[0], second = head_bytes_[1];
  const uint8_t opcode = first & 0x0f;
  if ((first & kRsv23Bits) != 0) return violation(kProtocolError, "reserved bits are set");
  if (!is_known(opcode)) return violation(kProtocolError, "opcode " + std::to_string(opcode) + " is reserved");
  const bool control = is_control(static_cast<Opcode>(opcode));
  const bool begins_data = opcode == 1 || opcode == 2;
  if ((first & kRsv1Bit) != 0 && (rsv1_ == Rsv1::Reserved || !begins_data)) {
    return violation(kProtocolError, "RSV1 is set where nothing can be compressed");
  }
  if (control && (first & kFin) == 0) return violation(kProtocolError, "a control frame is fragmented");
  if (control && (second & 0x7f) > kMaxControl) return violation(kProtocolError, "a control frame is too long");
  const bool masked = (second & kMaskBit) != 0;
  if (masked && from_ == From::Server) return violation(kProtocolError, "the server masks a frame");
  if (!masked && from_ == From::Client) return violation(kProtocolError, "the client sends a frame without a mask");
  return {};
}

Checked<void> FrameParser::parse_head() {
  const auto& bytes = head_bytes_;
  head_.opcode = static_cast<Opcode>(bytes[0] & 0x0f);
  head_.final = (bytes[0] & kFin) != 0;
  head_.compressed = (bytes[0] & kRsv1Bit) != 0;
  const uint8_t length = bytes[1] & 0x7f;
  const size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  head_.length = extended == 0 ? length : 0;
  for (size_t i = 0; i < extended; ++i) head_.length = head_.length << 8 | bytes[2 + i];
  if ((head_.length >> 63) != 0) return violation(kProtocolError, "a frame length has its top bit set");
  head_.mask.reset();
  if ((bytes[1] & kMaskBit) != 0) {
    Mask mask{};
    std::memcpy(mask.data(), bytes.data() + 2 + extended, mask.size());
    head_.mask = mask;
  }
  offset_ = 0;
  in_payload_ = true;
  head_size_ = 0;
  return {};
}

Checked<std::optional<FramePiece>> FrameParser::next(std::string_view& bytes) {
  while (!in_payload_) {
    const size_t wanted = head_needs() - head_size_;
    const size_t n = std::min(wanted, bytes.size());
    if (n > 0) std::memcpy(head_bytes_.data() + head_size_, bytes.data(), n);
    head_size_ += n;
    bytes.remove_prefix(n);
    if (n < wanted) return std::nullopt;
    if (head_size_ == 2) {
      if (auto checked = check_first_bytes(); !checked) return std::unexpected(checked.error());
    }
    if (head_size_ != head_needs()) continue;
    if (auto parsed = parse_head(); !parsed) return std::unexpected(parsed.error());
  }
  if (bytes.empty() && offset_ < head_.length) return std::nullopt;
  FramePiece piece{head_, bytes.substr(0, std::min<uint64_t>(bytes.size(), head_.length - offset_)), offset_};
  bytes.remove_prefix(piece.payload.size());
  offset_ += piece.payload.size();
  in_payload_ = !piece.ends();
  return piece;
}

void apply_mask(const Mask& mask, uint64_t offset, char* data, size_t size) {
  std::array<uint8_t, 8> turned{};
  for (size_t i = 0; i < turned.size(); ++i) turned[i] = mask[(offset + i) & 3];
  uint64_t wide = 0;
  std::memcpy(&wide, turned.data(), sizeof wide);
  size_t i = 0;
  for (; size - i >= sizeof wide; i += sizeof wide) {
    uint64_t word = 0;
    std::memcpy(&word, data + i, sizeof word);
    word ^= wide;
    std::memcpy(data + i, &word, sizeof word);
  }
  for (; i < size; ++i) data[i] = static_cast<char>(static_cast<uint8_t>(data[i]) ^ turned[i & 7]);
}

void append_frame(std::string& out, Opcode opcode, std::string_view payload, Compressed compressed,
                  const std::optional<Mask>& mask) {
  const auto push = [&out](unsigned byte) { out.push_back(static_cast<char>(byte)); };
  const unsigned mask_bit = mask ? kMaskBit : 0U;
  push(kFin | (compressed == Compressed::Yes ? kRsv1Bit : 0U) | static_cast<unsigned>(opcode));
  const uint64_t length = payload.size();
  size_t extended = 0;
  if (length <= kMaxControl) {
    push(mask_bit | static_cast<unsigned>(length));
  } else {
    extended = length <= 0xffff ? 2 : 8;
    push(mask_bit | (extended == 2 ? 126U : 127U));
  }
  for (size_t i = extended; i > 0; --i) push(static_cast<unsigned>(length >> (8 * (i - 1)) & 0xff));
  if (!mask) {
    out.append(payload);
    return;
  }
  out.append(reinterpret_cast<const char*>(mask->data()), mask->size());
  const size_t begin = out.size();
  out.append(payload);
  apply_mask(*mask, 0, out.data() + begin, payload.size());
}

std::string close_payload(uint16_t code, std::string_view reason) {
  std::string out;
  if (code == kNoStatus) return out;
  out.push_back(static_cast<char>(code >> 8));
  out.push_back(static_cast<char>(code & 0xff));
  constexpr size_t kRoom = kMaxControl - 2;
  if (reason.size() > kRoom) {
    size_t end = kRoom;
    while (end > 0 && (static_cast<uint8_t>(reason[end]) & 0xc0) == 0x80) --end;
    reason = reason.substr(0, end);
  }
  return out.append(reason);
}

}  // namespace tapdeck::ws
