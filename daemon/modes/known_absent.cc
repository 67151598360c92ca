#include "daemon/modes/known_absent.h"

namespace tapdeck::modes {

bool KnownAbsent::contains(const CursorKey& key, uint64_t generation) {
  if (generation > generation_) {
    keys_.clear();
    generation_ = generation;
  }
  return generation == generation_ && keys_.contains(key);
}

void KnownAbsent::add(const CursorKey& key, uint64_t generation) {
  if (generation != generation_) return;
  if (keys_.size() >= kMost) keys_.clear();
  keys_.insert(key);
}

}  // namespace tapdeck::modes
