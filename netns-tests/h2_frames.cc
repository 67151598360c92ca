#include "netns-tests/h2_frames.h"

namespace tapdeck::lab {
namespace {

enum : uint8_t { kData = 0, kHeaders = 1, kResetStream = 3, kSettings = 4, kGoAway = 7 };
constexpr uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4;

std::string big_endian(uint32_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

}  // namespace

std::string h2_frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
  std::string out = big_endian(static_cast<uint32_t>(payload.size()), 3);
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  return out + big_endian(stream, 4) + payload;
}

std::string h2_greeting() {
  return h2_frame(kSettings, 0, 0) + h2_frame(kSettings, kAck, 0);
}

std::string h2_head(uint32_t stream) {
  // RFC 7541: index 8 of the static table; index 28 with a literal value of two bytes, not indexed.
  return h2_frame(kHeaders, kEndHeaders, stream, std::string("\x88\x0f\x0d\x02") + "10");
}

std::string h2_reset(uint32_t stream, uint32_t code) {
  return h2_frame(kResetStream, 0, stream, big_endian(code, 4));
}

std::string h2_goaway(uint32_t last_stream, uint32_t code) {
  return h2_frame(kGoAway, 0, 0, big_endian(last_stream, 4) + big_endian(code, 4));
}

std::string h2_body(uint32_t stream) {
  return h2_frame(kData, kEndStream, stream, kH2Body);
}

uint32_t read_h2_request(Stream& stream, bool greets) {
  constexpr size_t kPreface = 24, kFrameHead = 9;
  if (greets && stream.read_exactly(kPreface).size() < kPreface) return 0;
  while (true) {
    const std::string head = stream.read_exactly(kFrameHead);
    if (head.size() < kFrameHead) return 0;
    const auto byte = [&head](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(head[i])); };
    const size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
    if (stream.read_exactly(length).size() < length) return 0;
    if (byte(3) == kHeaders) return byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
  }
}

}  // namespace tapdeck::lab
