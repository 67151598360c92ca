#include "daemon/modes/hot_cache.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tapdeck::modes {

size_t pick(config::Repeat repeat, uint64_t turn, const Turns& turns) {
  switch (repeat) {
    case config::Repeat::InOrder:
      return turn < turns.count ? static_cast<size_t>(turn) : turns.last;
    case config::Repeat::Latest:
      return turns.last;
    case config::Repeat::Cycle:
      return static_cast<size_t>(turn % turns.count);
    case config::Repeat::Once:
      return static_cast<size_t>(std::min<uint64_t>(turn, turns.count));
  }
  return 0;
}

size_t take_turn(config::Repeat repeat, std::atomic<uint64_t>& cursor, const Turns& turns) {
  uint64_t turn = cursor.load(std::memory_order_relaxed);
  while (true) {
    const size_t index = pick(repeat, turn, turns);
    if (index >= turns.count || cursor.compare_exchange_weak(turn, turn + 1, std::memory_order_relaxed)) return index;
  }
}

bool take_turn_at(config::Repeat repeat, std::atomic<uint64_t>& cursor, const Turns& turns, uint64_t turn) {
  const size_t index = pick(repeat, turn, turns);
  while (!cursor.compare_exchange_weak(turn, turn + 1, std::memory_order_relaxed)) {
    if (pick(repeat, turn, turns) != index) return false;
  }
  return true;
}

void HotEntry::renew(HotEntry read) {
  // Of a newer take, or of more that has been recorded. Unfinished recordings come last, however old.
  const auto age = [](const HotEntry& of) {
    const uint64_t newest = std::ranges::max(of.ids, {}, store::ExchangeStore::in_time);
    return std::tuple(of.take, store::ExchangeStore::in_time(newest), of.ids.size());
  };
  if (age(read) <= age(*this)) return;
  ids = std::move(read.ids);
  take = read.take;
  usable = read.usable;
  last = read.last;
}

HotEntry* HotCache::find(const CursorKey& key, uint64_t generation) {
  if (generation < generation_) return nullptr;
  if (generation > generation_ || bytes_ > bound_bytes_) {
    entries_.clear();
    shared_.clear();
    bytes_ = 0;
    generation_ = generation;
  }
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

HotEntry& HotCache::keep(const CursorKey& key, uint64_t generation, HotEntry read, Cursors& cursors) {
  if (HotEntry* known = find(key, generation)) {
    known->renew(std::move(read));
    return *known;
  }
  read.cursor = cursors.get(key);
  if (generation < generation_) return aside_ = std::move(read);
  bytes_ += sizeof read + read.ids.size() * sizeof(uint64_t) + 128;
  return entries_[key] = std::move(read);
}

void HotCache::add_item(HotEntry& entry, uint64_t id, std::shared_ptr<const ReplayItem> item) {
  bytes_ += item->memory();
  entry.items[id] = std::move(item);
}

void HotCache::share_item(HotEntry& entry, uint64_t id, std::shared_ptr<const ReplayItem> item) {
  const auto [known, is_new] = shared_.try_emplace(id, std::move(item));
  if (is_new) bytes_ += known->second->memory();
  entry.items[id] = known->second;
}

std::shared_ptr<const ReplayItem> HotCache::shared_item(uint64_t id) const {
  const auto found = shared_.find(id);
  return found == shared_.end() ? nullptr : found->second;
}

}  // namespace tapdeck::modes
