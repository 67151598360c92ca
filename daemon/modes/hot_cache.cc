#include "daemon/modes/hot_cache.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tapdeck::modes {

size_t pick(config::Repeat repeat, uint64_t turn, size_t count) {
  switch (repeat) {
    case config::Repeat::InOrder:
      return static_cast<size_t>(std::min<uint64_t>(turn, count - 1));
    case config::Repeat::Latest:
      return count - 1;
    case config::Repeat::Cycle:
      return static_cast<size_t>(turn % count);
    case config::Repeat::Once:
      return static_cast<size_t>(std::min<uint64_t>(turn, count));
  }
  return 0;
}

size_t take_turn(config::Repeat repeat, std::atomic<uint64_t>& cursor, size_t count) {
  uint64_t turn = cursor.load(std::memory_order_relaxed);
  while (true) {
    const size_t index = pick(repeat, turn, count);
    if (index >= count || cursor.compare_exchange_weak(turn, turn + 1, std::memory_order_relaxed)) return index;
  }
}

void HotEntry::renew(std::vector<uint64_t> read_ids, uint64_t read_take) {
  // Of a newer take, or of more that has been recorded.
  const auto age = [](uint64_t of, const std::vector<uint64_t>& all) {
    return std::tuple(of, store::ExchangeStore::in_time(all.back()), all.size());
  };
  if (age(read_take, read_ids) <= age(take, ids)) return;
  ids = std::move(read_ids);
  take = read_take;
}

HotEntry* HotCache::find(const CursorKey& key, uint64_t generation) {
  if (generation != generation_ || bytes_ > bound_bytes_) {
    entries_.clear();
    bytes_ = 0;
    generation_ = generation;
  }
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

HotEntry& HotCache::insert(const CursorKey& key, HotEntry entry) {
  bytes_ += sizeof entry + entry.ids.size() * sizeof(uint64_t) + 128;
  return entries_[key] = std::move(entry);
}

void HotCache::add_item(HotEntry& entry, uint64_t id, std::shared_ptr<const ReplayItem> item) {
  bytes_ += item->memory();
  entry.items[id] = std::move(item);
}

}  // namespace tapdeck::modes
