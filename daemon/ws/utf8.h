// Utf8: tells whether text that comes in pieces is UTF-8, at the first byte that is not (RFC 3629: no surrogates, no
// overlong forms, nothing above U+10FFFF). Sans-IO. Thread: any, one at a time.
#pragma once

#include <cstdint>
#include <string_view>

namespace tapdeck::ws {

class Utf8 {
 public:
  // False at the first byte that no continuation can repair; final until reset().
  [[nodiscard]] bool feed(std::string_view bytes);
  // Nothing is half-way: the text may end here.
  [[nodiscard]] bool is_complete() const { return needed_ == 0; }
  void reset() { needed_ = 0; }

 private:
  uint8_t needed_ = 0;                  // continuation bytes to come
  uint8_t least_ = 0x80, most_ = 0xbf;  // what the next of them may be
};

}  // namespace tapdeck::ws
