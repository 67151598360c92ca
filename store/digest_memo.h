// DigestMemo: content_digest() for bodies that come again and again: health checks, polls, small assets. Comparing 2
// KiB with the copy kept takes a twentieth of hashing it, and who finds a body here shares the copy.
//
// Sixteen bodies of at most 16 KiB, a newer one in the place of an older. Owner: a worker. Thread: its own; the bytes
// it gives out never change and may go to any.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "store/match_key.h"

namespace tapdeck::store {

struct HashedBody {
  std::shared_ptr<const std::string> bytes;
  Digest digest{};
};

class DigestMemo {
 public:
  static constexpr size_t kLongest = 16384;
  // The body it keeps that equals `bytes`; null: none. Valid until the next keep().
  [[nodiscard]] const HashedBody* find(std::string_view bytes) const;
  // The one it keeps that equals `bytes`, else these, hashed; kept if they are of the right length.
  [[nodiscard]] HashedBody keep(std::string bytes);

 private:
  std::array<HashedBody, 16> slots_;
};

[[nodiscard]] HashedBody hashed(std::string bytes);

}  // namespace tapdeck::store
