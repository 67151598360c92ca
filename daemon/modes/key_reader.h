// read_key(): looks a key up in the store, off the worker's thread, and keeps what it finds in the worker's HotCache.
#pragma once

#include <utility>
#include <vector>

#include "daemon/modes/hot_cache.h"
#include "daemon/modes/replay_context.h"
#include "daemon/net/offload.h"

namespace tapdeck::modes {

// Result<HotEntry> read(known, unreadable) runs in the reader pool: all but the cursor of `key`. `known`: the ids
// that are known of it already; `unreadable`: how many could not be read, counted as errors. nullptr: nothing is
// recorded. The entry is valid until the next wait.
template <class Read>
net::Task<Result<HotEntry*>> read_key(HotCache& cache, const ReplayContext& context, CursorKey key, Read read) {
  const uint64_t generation = context.store->generation();
  std::vector<uint64_t> known;
  if (const HotEntry* entry = cache.find(key, generation)) known = entry->ids;
  size_t unreadable = 0;
  auto in_pool = [&] { return read(known, unreadable); };
  auto found = co_await net::offload(*context.readers, in_pool);
  context.metrics->add(Counter::StoreErrorRead, unreadable);
  // No such session is the same news as an empty one: nothing was recorded.
  const bool is_empty = found ? found->ids.empty() : found.error().code == Code::NotFound;
  if (is_empty) co_return static_cast<HotEntry*>(nullptr);
  if (!found) co_return std::unexpected(found.error());
  co_return &cache.keep(key, generation, std::move(*found), *context.cursors);
}

}  // namespace tapdeck::modes
