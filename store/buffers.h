// How much RocksDB may keep beside what is stored: in memory, in its log, and as bodies that nobody needs any more.
// What is best for speed; less than that where storage.max_bytes says that the disk is scarce. Internal to store/.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tapdeck::store {

struct Buffers {
  uint64_t log = 64ull << 20;     // written out as tables past it; so much of deleted bodies may wait, too
  uint64_t memory = 96ull << 20;  // of all families
  uint64_t table = 32ull << 20;   // memory of a family before it becomes a table
  // Bodies pass through here as fast as an origin sends them, two of these tables at a time: memory beside a body of
  // any length stays below 64 MiB (netns-tests/bounds_test.cc).
  uint64_t bodies = 12ull << 20;
  uint64_t blob_file = 64ull << 20;
  uint64_t reserve = 28ull << 20;  // set aside for a full disk: what is in memory, two such tables, must fit once more
  bool is_bounded = false;
  // Which blob files are collected when that is on, as a share of them, the oldest first. At a bound those are the ones
  // with garbage, and moving all of them at once would take their space twice.
  [[nodiscard]] double collection_age() const { return is_bounded ? 0.25 : 1; }
};
// And from which share of garbage in them.
inline constexpr double kCollectedFrom = 0.5;

// An eighth of the bound, which from 512 MiB on is what an unbounded store has.
[[nodiscard]] inline Buffers buffers_for(uint64_t max_bytes) {
  Buffers out;
  if (max_bytes == 0) return out;
  const uint64_t share = std::clamp<uint64_t>(max_bytes / 8, 4ull << 20, 64ull << 20);
  out.is_bounded = true;
  out.log = share;
  out.memory = std::min<uint64_t>(out.memory, 2 * share);
  out.table = std::min<uint64_t>(out.table, share / 2);
  out.bodies = std::min<uint64_t>(out.bodies, share / 2);
  out.blob_file = share;
  out.reserve = std::min<uint64_t>(out.reserve, share + (4ull << 20));
  return out;
}

}  // namespace tapdeck::store
