#include "daemon/modes/cursors.h"

#include <cstring>

#include "daemon/modes/websocket_round.h"

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

std::shared_ptr<WebSocketRounds> Cursors::rounds(const CursorKey& key) {
  Shard& shard = shards_[CursorKeyHash()(key) % kShards];
  const std::scoped_lock lock(shard.mutex);
  auto& rounds = shard.rounds[key];
  if (rounds == nullptr) rounds = std::make_shared<WebSocketRounds>();
  return rounds;
}

void Cursors::give_back_turn(std::atomic<uint64_t>& cursor) {
  uint64_t turn = cursor.load(std::memory_order_relaxed);
  while (turn > 0 && !cursor.compare_exchange_weak(turn, turn - 1, std::memory_order_relaxed)) {
  }
}

void Cursors::rewind(int target) {
  for (Shard& shard : shards_) {
    const std::scoped_lock lock(shard.mutex);
    std::erase_if(shard.cursors, [target](const auto& entry) {
      const auto& [key, cursor] = entry;
      if (target != kAll && key.target != target) return false;
      cursor->store(0, std::memory_order_relaxed);
      return cursor.use_count() == 1;  // ours alone, and get() waits for the lock
    });
    std::erase_if(shard.rounds, [target](const auto& entry) { return target == kAll || entry.first.target == target; });
  }
}

void Cursors::forget(TargetSlot target, uint64_t tape) {
  for (Shard& shard : shards_) {
    const std::scoped_lock lock(shard.mutex);
    const auto is_over = [&](const auto& entry) { return entry.first.target == target && entry.first.tape <= tape; };
    std::erase_if(shard.cursors, is_over);
    std::erase_if(shard.rounds, is_over);
  }
}

size_t Cursors::size() {
  size_t size = 0;
  for (Shard& shard : shards_) {
    const std::scoped_lock lock(shard.mutex);
    size += shard.cursors.size() + shard.rounds.size();
  }
  return size;
}

}  // namespace tapdeck::modes
