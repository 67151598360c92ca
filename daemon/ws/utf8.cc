#include "daemon/ws/utf8.h"

#include <cstring>

namespace tapdeck::ws {

namespace {

// ASCII is most of all text: eight bytes a step.
size_t ascii_prefix(std::string_view bytes) {
  size_t n = 0;
  while (bytes.size() - n >= sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + n, sizeof word);
    if ((word & 0x8080808080808080ULL) != 0) break;
    n += sizeof word;
  }
  return n;
}

}  // namespace

bool Utf8::feed(std::string_view bytes) {
  size_t i = needed_ == 0 ? ascii_prefix(bytes) : 0;
  for (; i < bytes.size(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    if (needed_ > 0) {
      if (byte < least_ || byte > most_) return false;
      --needed_;
      least_ = 0x80;
      most_ = 0xbf;
      continue;
    }
    if (byte < 0x80) continue;
    if (byte < 0xc2 || byte > 0xf4) return false;  // a stray continuation, overlong, or above U+10FFFF
    needed_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    // The second byte decides overlong forms, surrogates and the upper end (RFC 3629 section 4).
    if (byte == 0xe0) least_ = 0xa0;
    if (byte == 0xed) most_ = 0x9f;
    if (byte == 0xf0) least_ = 0x90;
    if (byte == 0xf4) most_ = 0x8f;
  }
  return true;
}

}  // namespace tapdeck::ws
