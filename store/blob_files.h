// When the space of deleted bodies is taken back from blob files.
//
// RocksDB's collection moves the bodies of all files older than its cutoff each time it compacts, whether any of them
// was deleted or not: beside a recording of gigabytes that is most of what the disk does. So it is switched on only
// while there is something to collect, and then for all files. Internal to store/. Thread: the writer's.
#pragma once

#include <rocksdb/db.h>

#include <cstdint>

#include "store/buffers.h"

namespace tapdeck::store {

// Of so much all of the rest is moved to be rid of anything that somebody deleted: some seconds of a disk.
inline constexpr uint64_t kMovedGladly = 512ull << 20;

// Bytes of all live blob files, and those of them that no key leads to any more.
struct BlobSpace {
  uint64_t total = 0;
  uint64_t garbage = 0;
};

// On from half of the space (and 64 MiB), off below a quarter; in a store with a bound half of all that.
[[nodiscard]] bool wants_collection(const BlobSpace& space, bool is_on, const Buffers& buffers = {});

class BlobCollection {
 public:
  explicit BlobCollection(const Buffers& buffers) : buffers_(buffers) {}
  // Looks at most every ten seconds of `now_unix_us`, every second while it is on or there is a bound. Whether it is on
  // is asked of `db`: one that was opened anew has it off.
  void tend(rocksdb::DB& db, rocksdb::ColumnFamilyHandle& blobs, int64_t now_unix_us);
  // Once RocksDB knows what is garbage: all of it, when there are no more than kMovedGladly and `room` bytes in the
  // files. To be called until it is true: there is none, or it is left to tend().
  [[nodiscard]] bool collect_all(rocksdb::DB& db, rocksdb::ColumnFamilyHandle& blobs, uint64_t room);

 private:
  Buffers buffers_;
  int64_t next_us_ = 0;
  int collecting_all_ = 0;  // calls since it was switched on; 0: it is not
};

}  // namespace tapdeck::store
