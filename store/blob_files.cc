#include "store/blob_files.h"

#include "daemon/base/log.h"

namespace tapdeck::store {
namespace {

constexpr int64_t kIntervalUs = 10'000'000;
constexpr int64_t kIntervalWhileOnUs = 1'000'000;  // one compaction moves everything: the next need not

}  // namespace

bool wants_collection(const BlobSpace& space, bool is_on, const Buffers& buffers) {
  if (space.garbage == 0) return false;
  const uint64_t least = space.total / (buffers.is_bounded ? 8 : 4);
  return is_on ? space.garbage >= least : space.garbage >= buffers.blob_file && space.garbage >= 2 * least;
}

void BlobCollection::tend(rocksdb::DB& db, rocksdb::ColumnFamilyHandle& blobs, int64_t now_unix_us) {
  const bool is_early = now_unix_us < next_us_ && next_us_ - now_unix_us <= kIntervalUs;  // no clock was set back
  if (is_early) return;
  next_us_ = now_unix_us + kIntervalUs;
  BlobSpace space;
  if (!db.GetIntProperty(&blobs, rocksdb::DB::Properties::kLiveBlobFileSize, &space.total) ||
      !db.GetIntProperty(&blobs, rocksdb::DB::Properties::kLiveBlobFileGarbageSize, &space.garbage)) {
    return;
  }
  const bool is_on = db.GetOptions(&blobs).enable_blob_garbage_collection;
  const bool wanted = wants_collection(space, is_on, buffers_);
  if (wanted != is_on) {
    const auto set = db.SetOptions(&blobs, {{"enable_blob_garbage_collection", wanted ? "true" : "false"}});
    if (!set.ok()) {
      log::peer(log::Level::Warn, "store.collection", "the space of deleted bodies is not taken back",
                {{"garbage_bytes", space.garbage}, {"error", set.ToString()}});
      return;
    }
  }
  if (wanted || buffers_.is_bounded) next_us_ = now_unix_us + kIntervalWhileOnUs;
}

}  // namespace tapdeck::store
