#include "daemon/modes/cursors.h"

#include <cstring>

namespace tapdeck::modes {

size_t CursorKeyHash::operator()(const CursorKey& key) const {
  size_t hash = 0;
  std::memcpy(&hash, key.key.bytes.data(), sizeof hash);  // a keyed digest: already uniform
  return hash ^ (key.tape * 0x9e3779b97f4a7c15ULL) ^ (static_cast<size_t>(key.target) << 56);
}

Cursors::Cursor Cursors::get(const CursorKey& key) {
  Shard& shard = shards_[CursorKeyHash()(key) % kShards];
  const std::scoped_lock lock(shard.mutex);
  Cursor& cursor = shard.cursors[key];
  if (cursor == nullptr) cursor = std::make_shared<std::atomic<uint64_t>>(0);
  return cursor;
}

void Cursors::give_back_turn(std::atomic<uint64_t>& cursor) {
  uint64_t turn = cursor.load(std::memory_order_relaxed);
  while (turn > 0 && !cursor.compare_exchange_weak(turn, turn - 1, std::memory_order_relaxed)) {
  }
}

void Cursors::rewind(int target) {
  for (Shard& shard : shards_) {
    const std::scoped_lock lock(shard.mutex);
    for (auto& [key, cursor] : shard.cursors) {
      if (target == kAll || key.target == target) cursor->store(0, std::memory_order_relaxed);
    }
  }
}

void Cursors::clear() {
  for (Shard& shard : shards_) {
    const std::scoped_lock lock(shard.mutex);
    shard.cursors.clear();
  }
}

}  // namespace tapdeck::modes
