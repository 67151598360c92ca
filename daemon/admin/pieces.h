// Pieces: bytes that are too many to be held at once, asked for one piece at a time by whoever sends them.
// Owner: one answer. Thread: that of the Control call which gave it, whoever asks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "daemon/base/result.h"

namespace tapdeck::admin {

struct Pieces {
  uint64_t bytes = 0;  // of all pieces together
  // The next one; an empty one is the end. May block on the store. After an error nothing more comes.
  std::move_only_function<Result<std::string>()> next = {};
};

// What is held all the same, as one piece.
[[nodiscard]] inline Pieces one_piece(std::string bytes) {
  const uint64_t size = bytes.size();
  return {.bytes = size,
          .next = [left = std::move(bytes)]() mutable -> Result<std::string> { return std::exchange(left, {}); }};
}

}  // namespace tapdeck::admin
