// KnownAbsent: keys that the store was asked for and has nothing of, in one of its generations.
//
// For tapes that nobody records to: what is recorded is there without a new generation. Bounded: full, it starts
// afresh. Owner: the worker. Thread: its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_set>

#include "daemon/modes/cursors.h"

namespace tapdeck::modes {

class KnownAbsent {
 public:
  static constexpr size_t kMost = 4096;  // keys

  // A newer generation than the last forgets all.
  [[nodiscard]] bool contains(const CursorKey& key, uint64_t generation);
  // Nothing was found of `key`; `generation` is of before the look. One that is over says nothing.
  void add(const CursorKey& key, uint64_t generation);

 private:
  std::unordered_set<CursorKey, CursorKeyHash> keys_;
  uint64_t generation_ = 0;
};

}  // namespace tapdeck::modes
