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

// RFC 7541: indices of the static table; 28 with a literal value of two bytes, not indexed.
constexpr const char* kContentLength =
    "\x0f\x0d\x02"
    "10";
constexpr const char* kHttpToRoot = "\x86\x84";
constexpr const char* kAuthority =
    "\x01\x0b"
    "origin.test";

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
  return h2_frame(kHeaders, kEndHeaders, stream, std::string("\x88") + kContentLength);
}

std::string h2_client_greeting(uint32_t window) {
  constexpr uint32_t kInitialWindowSize = 4;
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
         h2_frame(kSettings, 0, 0, big_endian(kInitialWindowSize, 2) + big_endian(window, 4));
}

std::string h2_get(uint32_t stream) {
  return h2_frame(kHeaders, kEndHeaders | kEndStream, stream, std::string("\x82") + kHttpToRoot + kAuthority);
}

std::string h2_post(uint32_t stream) {
  return h2_frame(kHeaders, kEndHeaders, stream, std::string("\x83") + kHttpToRoot + kAuthority + kContentLength);
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

std::string h2_half_body(uint32_t stream) {
  return h2_frame(kData, 0, stream, kH2Body.substr(0, 5));
}

bool read_h2_preface(Stream& stream) {
  constexpr size_t kPreface = 24;
  return stream.read_exactly(kPreface).size() == kPreface;
}

std::optional<H2Frame> read_h2_frame(Stream& stream) {
  constexpr size_t kFrameHead = 9;
  const std::string head = stream.read_exactly(kFrameHead);
  if (head.size() < kFrameHead) return std::nullopt;
  const auto byte = [&head](size_t i) { return static_cast<uint8_t>(head[i]); };
  const auto word = [&byte](size_t i) { return static_cast<uint32_t>(byte(i) << 8 | byte(i + 1)); };
  const size_t length = word(0) << 8 | byte(2);
  if (stream.read_exactly(length).size() < length) return std::nullopt;
  return H2Frame{byte(3), byte(4), word(5) << 16 | word(7)};
}

uint32_t read_h2_request(Stream& stream) {
  while (const auto frame = read_h2_frame(stream)) {
    if (frame->is_headers()) return frame->stream;
  }
  return 0;
}

uint32_t read_first_h2_request(Stream& stream) {
  return read_h2_preface(stream) ? read_h2_request(stream) : 0;
}

}  // namespace tapdeck::lab
