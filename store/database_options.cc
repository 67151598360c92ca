// How RocksDB is set up: of each option that is not its default, why.
#include <rocksdb/cache.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include <algorithm>

#include "store/store_impl.h"
#include "store/store_repair.h"

namespace tapdeck::store {
namespace {

// RocksDB renames and rewrites its LOG at every open, read-only ones included, which would take the owner's away.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

rocksdb::Options database_options(const Buffers& buffers) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.info_log = std::make_shared<NoLog>();
  // An acknowledged write is in the page cache: it outlives kill -9 of this process. (sync is per write, for Fsync.)
  options.manual_wal_flush = false;
  // A torn end is what a kill leaves and ends the log; damage before it is told (open_db), and what follows it kept
  // aside.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  // Bounds what a reader has to replay and what stays on disk behind one idle column family.
  options.max_total_wal_size = buffers.log;
  // Opening replays the log into memory and stops there: writing tables at every open made it seconds slower.
  options.avoid_flush_during_recovery = true;
  options.db_write_buffer_size = buffers.memory;
  options.max_background_jobs = 2;
  options.bytes_per_sync = 1 << 20;
  options.wal_bytes_per_sync = 1 << 20;  // no wave of unwritten pages that a later write has to wait for
  return options;
}

rocksdb::ColumnFamilyOptions family_options(const std::string& name, const rocksdb::Options& base,
                                            const std::shared_ptr<rocksdb::Cache>& cache, const Buffers& buffers) {
  rocksdb::ColumnFamilyOptions options(base);
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(16));  // bits a key; decision 23 has it and 10
  // Indexes stay in memory. Sharing prefixes makes them smaller by half, and a search meets fewer cold cache lines.
  table.index_block_restart_interval = 16;
  options.write_buffer_size = buffers.table;
  options.compression = rocksdb::kNoCompression;
  if (name == name_of(Family::Recordings)) {
    options.bottommost_compression = rocksdb::kLZ4Compression;
    options.optimize_filters_for_hits = true;  // who asks for an id has it from the index
  }
  if (name == name_of(Family::BlobRefs)) table.filter_policy.reset();  // only ever iterated
  if (name == name_of(Family::Match)) {
    // session(4) key(32): a lookup of a key that was never recorded ends at the filter, however large the store.
    options.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(36));
    options.memtable_prefix_bloom_size_ratio = 0.05;
    table.whole_key_filtering = false;
  }
  if (name == name_of(Family::Blobs)) {
    options.write_buffer_size = buffers.bodies;
    // Larger values live in blob files and are not copied by compaction. Segments below 4 KiB stay in the tree, where
    // they cost less than a file reference and a second read.
    options.enable_blob_files = true;
    options.min_blob_size = 4096;
    options.blob_file_size = buffers.blob_file;
    // Switched on by BlobCollection when there is something to collect.
    options.enable_blob_garbage_collection = false;
    options.blob_garbage_collection_age_cutoff = buffers.collection_age();
    options.blob_garbage_collection_force_threshold = kCollectedFrom;
    options.memtable_whole_key_filtering = true;
    options.memtable_prefix_bloom_size_ratio = 0.02;
  }
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

}  // namespace

std::vector<rocksdb::ColumnFamilyDescriptor> describe_families(const std::vector<std::string>& extra,
                                                               uint64_t cache_bytes, const Buffers& buffers) {
  const auto base = database_options(buffers);
  const auto cache = rocksdb::NewLRUCache(cache_bytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> out;
  for (size_t i = 0; i < kFamilies; ++i) {
    const std::string name = name_of(static_cast<Family>(i));
    out.emplace_back(name, family_options(name, base, cache, buffers));
  }
  // A newer tapdeck may have added some; RocksDB refuses to open a part of them, and the schema check speaks later.
  for (const auto& name : extra) {
    if (std::ranges::none_of(out, [&name](const auto& known) { return known.name == name; }))
      out.emplace_back(name, family_options(name, base, cache, buffers));
  }
  return out;
}

rocksdb::DBOptions database_only_options(const Buffers& buffers) {
  return rocksdb::DBOptions(database_options(buffers));
}

}  // namespace tapdeck::store
