// DigestMemo: content_digest() for bodies that come again and again: health checks, polls, small assets. Comparing 2
// KiB with the copy kept takes a twentieth of hashing it.
//
// Sixteen bodies of at most 16 KiB, a newer one in the place of an older. Owner: a worker. Thread: its own.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "store/match_key.h"

namespace tapdeck::store {

class DigestMemo {
 public:
  static constexpr size_t kLongest = 16384;
  [[nodiscard]] Digest of(std::string_view bytes);

 private:
  struct Slot {
    std::string bytes;
    Digest digest{};
  };
  std::array<Slot, 16> slots_;
};

}  // namespace tapdeck::store
