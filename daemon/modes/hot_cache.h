// HotCache: what a worker replays without touching disk, locks or another thread.
//
// An entry is the ordered list of recordings of one key with as many of them loaded as were asked for. Valid for one
// store generation: delete, activate and new takes empty it. Generations grow, and what is read belongs to the one from
// before the read: it may hold no longer by the end. Bounded by bytes; over the bound it starts afresh.
// Owner: the worker. Thread: its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/modes/cursors.h"
#include "daemon/modes/replay_item.h"

namespace tapdeck::modes {

// So many recordings, not none, have a turn each; then the one at `last` repeats.
struct Turns {
  size_t count;
  size_t last;
};

struct HotEntry {
  std::vector<uint64_t> ids;  // in replay order, never empty
  std::unordered_map<uint64_t, std::shared_ptr<const ReplayItem>> items;
  Cursors::Cursor cursor;
  uint64_t take = 0;           // theirs; 0: not known
  size_t usable = 0;           // so many of the ids have a turn; of GrpcReplay's the others only take over
  std::optional<size_t> last;  // of the usable ones, the last finished; none: what there is, is a last resort

  [[nodiscard]] Turns turns() const { return {usable, last.value_or(usable - 1)}; }
  // What the store has of the key (all but items and cursor), where that was read later: reads may overtake each other.
  void renew(HotEntry read);
};

// Which recording the request number `turn` (from 0) gets; turns.count = none is left (Repeat::Once).
[[nodiscard]] size_t pick(config::Repeat repeat, uint64_t turn, const Turns& turns);

// The same for the next request, whose turn is over then. Where none is left no turn is used up: one may be recorded.
[[nodiscard]] size_t take_turn(config::Repeat repeat, std::atomic<uint64_t>& cursor, const Turns& turns);

// The same for what pick() said at `turn`. False: somebody took that turn meanwhile, or the session was rewound, and
// another recording is next; nothing was taken.
[[nodiscard]] bool take_turn_at(config::Repeat repeat, std::atomic<uint64_t>& cursor, const Turns& turns,
                                uint64_t turn);

class HotCache {
 public:
  explicit HotCache(size_t bound_bytes) : bound_bytes_(bound_bytes) {}

  // nullptr when unknown; of a generation that is over nothing is known. A newer one forgets everything.
  [[nodiscard]] HotEntry* find(const CursorKey& key, uint64_t generation);
  // What was read of `key`; `generation` is of before the read. Renews what is known. Where that generation is over, it
  // is for the caller alone, until the next call.
  HotEntry& keep(const CursorKey& key, uint64_t generation, HotEntry read, Cursors& cursors);
  void add_item(HotEntry& entry, uint64_t id, std::shared_ptr<const ReplayItem> item);
  // The same for an item of which the entries of all clients have one copy.
  void share_item(HotEntry& entry, uint64_t id, std::shared_ptr<const ReplayItem> item);
  // One that was shared; null: none.
  [[nodiscard]] std::shared_ptr<const ReplayItem> shared_item(uint64_t id) const;
  // One of its recordings is gone.
  void forget(const CursorKey& key) { entries_.erase(key); }

 private:
  std::unordered_map<CursorKey, HotEntry, CursorKeyHash> entries_;
  std::unordered_map<uint64_t, std::shared_ptr<const ReplayItem>> shared_;  // by recording
  HotEntry aside_;                                                          // of keep()
  size_t bound_bytes_;
  size_t bytes_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace tapdeck::modes
