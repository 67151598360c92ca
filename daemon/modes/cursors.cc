#include "daemon/modes/cursors.h"

#include <cstring>

#include "daemon/modes/websocket_round.h"

namespace tapdeck::modes {

size_t CursorKeyHash::operator()(const CursorKey& key) const {
  size_t hash = 0;
  std::memcpy(&hash, key.key.bytes.data(), sizeof hash);  // a keyed digest: already uniform
  hash ^= (key.tape * 0x9e3779b97f4a7c15ULL) ^ (static_cast<size_t>(key.target) << 56);
  uint64_t halves[2];
  std::memcpy(halves, key.client.address.data(), sizeof halves);
  return hash ^ ((halves[0] * 3 + halves[1]) * 0x9e3779b97f4a7c15ULL);
}

CursorKey cursor_key(uint64_t tape, const exchange::CapturedFlow& flow, const store::Key& key) {
  CursorKey out{tape, flow.identity.target, key};
  const bool is_remote = flow.path == CapturePath::Explicit && !flow.client.is_loopback();
  if (flow.path == CapturePath::Tc || is_remote) out.client = flow.client;
  out.client.port = 0;
  return out;
}

template <typename Value>
std::shared_ptr<Value> Cursors::of(Map<Value> Shard::* map, const CursorKey& key) {
  Shard& shard = shards_[CursorKeyHash()(key) % kShards];
  {
    const std::scoped_lock lock(shard.mutex);
    Map<Value>& values = shard.*map;
    const bool is_told_apart = key.client == Endpoint{} || values.size() < kMostOfAddresses || values.contains(key);
    if (is_told_apart) {
      std::shared_ptr<Value>& value = values[key];
      if (value == nullptr) value = std::make_shared<Value>();
      return value;
    }
  }
  CursorKey of_all = key;
  of_all.client = {};
  return of(map, of_all);
}

Cursors::Cursor Cursors::get(const CursorKey& key) {
  return of(&Shard::cursors, key);
}

std::shared_ptr<WebSocketRounds> Cursors::rounds(const CursorKey& key) {
  return of(&Shard::rounds, key);
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
