#include "store/blob_files.h"

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>

#include "daemon/base/log.h"

namespace tapdeck::store {
namespace {

constexpr int64_t kIntervalUs = 10'000'000;
constexpr int kMostCalls = 100;                    // of collect_all(), for what a reader holds on to
constexpr int64_t kIntervalWhileOnUs = 1'000'000;  // one compaction moves everything: the next need not

using Options = std::unordered_map<std::string, std::string>;

std::optional<BlobSpace> space_of(rocksdb::DB& db, rocksdb::ColumnFamilyHandle& blobs) {
  BlobSpace space;
  if (!db.GetIntProperty(&blobs, rocksdb::DB::Properties::kLiveBlobFileSize, &space.total) ||
      !db.GetIntProperty(&blobs, rocksdb::DB::Properties::kLiveBlobFileGarbageSize, &space.garbage)) {
    return std::nullopt;
  }
  return space;
}

bool set(rocksdb::DB& db, rocksdb::ColumnFamilyHandle& blobs, const Options& options, const BlobSpace& space) {
  const auto done = db.SetOptions(&blobs, options);
  if (done.ok()) return true;
  log::peer(log::Level::Warn, "store.collection", "the space of deleted bodies is not taken back",
            {{"garbage_bytes", space.garbage}, {"error", done.ToString()}});
  return false;
}

}  // namespace

bool wants_collection(const BlobSpace& space, bool is_on, const Buffers& buffers) {
  if (space.garbage == 0) return false;
  const uint64_t least = space.total / (buffers.is_bounded ? 8 : 4);
  return is_on ? space.garbage >= least : space.garbage >= buffers.blob_file && space.garbage >= 2 * least;
}

void BlobCollection::tend(rocksdb::DB& db, rocksdb::ColumnFamilyHandle& blobs, int64_t now_unix_us) {
  if (collecting_all_ > 0) return;
  const bool is_early = now_unix_us < next_us_ && next_us_ - now_unix_us <= kIntervalUs;  // no clock was set back
  if (is_early) return;
  next_us_ = now_unix_us + kIntervalUs;
  const auto space = space_of(db, blobs);
  if (!space) return;
  const bool is_on = db.GetOptions(&blobs).enable_blob_garbage_collection;
  const bool wanted = wants_collection(*space, is_on, buffers_);
  const Options options = {{"enable_blob_garbage_collection", wanted ? "true" : "false"}};
  if (wanted != is_on && !set(db, blobs, options, *space)) return;
  if (wanted || buffers_.is_bounded) next_us_ = now_unix_us + kIntervalWhileOnUs;
}

// Nearly no garbage is then enough for RocksDB to move what is left of files of any age.
bool BlobCollection::collect_all(rocksdb::DB& db, rocksdb::ColumnFamilyHandle& blobs, uint64_t room) {
  const auto space = space_of(db, blobs);
  const bool wanted =
      space && space->garbage > 0 && space->total <= std::min(kMovedGladly, room) && collecting_all_ < kMostCalls;
  if (!wanted && collecting_all_ == 0) return true;
  // A database that was opened anew meanwhile has it off.
  if (wanted && collecting_all_++ > 0 && db.GetOptions(&blobs).enable_blob_garbage_collection) return false;
  const Options on = {{"enable_blob_garbage_collection", "true"},
                      {"blob_garbage_collection_age_cutoff", "1"},
                      {"blob_garbage_collection_force_threshold", "0.000001"}};
  const Options off = {{"enable_blob_garbage_collection", "false"},
                       {"blob_garbage_collection_age_cutoff", std::to_string(buffers_.collection_age())},
                       {"blob_garbage_collection_force_threshold", std::to_string(kCollectedFrom)}};
  const bool is_set = set(db, blobs, wanted ? on : off, space.value_or(BlobSpace{}));
  if (!wanted || !is_set) collecting_all_ = 0;  // tend() goes on
  return collecting_all_ == 0;
}

}  // namespace tapdeck::store
