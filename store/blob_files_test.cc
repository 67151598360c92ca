#include "store/blob_files.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

constexpr uint64_t kMiB = 1ull << 20;
constexpr uint64_t kGiB = 1ull << 30;

TEST(BlobFiles, AreCollectedFromHalfGarbageDownToAQuarter) {
  EXPECT_FALSE(wants_collection({0, 0}, false));
  EXPECT_FALSE(wants_collection({10 * kGiB, 0}, false));
  EXPECT_FALSE(wants_collection({100 * kMiB, 60 * kMiB}, false)) << "not worth the moving";
  EXPECT_FALSE(wants_collection({10 * kGiB, 4 * kGiB}, false));
  EXPECT_TRUE(wants_collection({10 * kGiB, 5 * kGiB}, false));
  EXPECT_TRUE(wants_collection({10 * kGiB, 3 * kGiB}, true));
  EXPECT_FALSE(wants_collection({10 * kGiB, 2 * kGiB}, true));
  EXPECT_FALSE(wants_collection({0, 0}, true));
  const Buffers bounded = buffers_for(40 * kMiB);
  EXPECT_FALSE(wants_collection({40 * kMiB, 4 * kMiB}, false, bounded)) << "not worth the moving";
  EXPECT_TRUE(wants_collection({40 * kMiB, 10 * kMiB}, false, bounded));
  EXPECT_TRUE(wants_collection({40 * kMiB, 6 * kMiB}, true, bounded));
  EXPECT_FALSE(wants_collection({40 * kMiB, 4 * kMiB}, true, bounded));
}

uint64_t blob_bytes_on_disk(const std::string& path) {
  uint64_t bytes = 0;
  std::error_code error;  // a file may go while it is looked at
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path, error)) {
    if (entry.path().extension() != ".blob") continue;
    if (const auto size = entry.file_size(error); !error) bytes += size;
  }
  return bytes;
}

TEST(BlobFiles, CollectingAllGoesOnInADatabaseThatWasOpenedAnew) {
  const TestDirectory dir;
  rocksdb::Options options;
  options.create_if_missing = true;
  options.enable_blob_files = true;
  options.disable_auto_compactions = true;
  std::unique_ptr<rocksdb::DB> db;
  const auto open = [&] {
    db.reset();
    rocksdb::DB* raw = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(options, dir.path(), &raw).ok());
    db.reset(raw);
  };
  open();
  rocksdb::CompactRangeOptions all;
  all.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  for (const char* key : {"kept", "deleted"}) ASSERT_TRUE(db->Put({}, key, std::string(kMiB, 'x')).ok());
  ASSERT_TRUE(db->Flush({}).ok());
  ASSERT_TRUE(db->Delete({}, "deleted").ok());
  ASSERT_TRUE(db->CompactRange(all, nullptr, nullptr).ok());
  BlobCollection collection{Buffers{}};
  EXPECT_FALSE(collection.collect_all(*db, *db->DefaultColumnFamily(), kGiB));
  open();
  EXPECT_FALSE(collection.collect_all(*db, *db->DefaultColumnFamily(), kGiB));
  ASSERT_TRUE(db->CompactRange(all, nullptr, nullptr).ok());
  EXPECT_TRUE(collection.collect_all(*db, *db->DefaultColumnFamily(), kGiB)) << "there is no garbage any more";
  EXPECT_FALSE(db->GetOptions().enable_blob_garbage_collection);
}

TEST(BlobFiles, TheSpaceOfADeletedSessionComesBackWhileOthersRecord) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  uint64_t body = 0;
  Recorder kept(*store, "kept");
  {
    // Bodies of both sessions side by side, so that no file becomes garbage as a whole.
    Recorder dropped(*store, "dropped");
    for (int i = 0; i < 600; ++i) {
      Recorder& recorder = i % 4 == 0 ? kept : dropped;
      ignore(recorder.record("/" + std::to_string(i), body_of(++body, 256 * 1024)), "counted on the disk");
    }
  }
  const uint64_t before = blob_bytes_on_disk(dir.path());
  ASSERT_GE(before, 100 * kMiB);
  ASSERT_TRUE(store->delete_session("dropped"));
  const uint64_t kept_bytes = before / 4;
  int64_t now = 0;
  uint64_t added = 0;
  uint64_t garbage = before - kept_bytes;
  for (int i = 0; i < 800 && garbage > before / 4; ++i) {
    const std::string more = body_of(++body, 256 * 1024);  // makes the store flush and compact
    ignore(kept.record("/more/" + std::to_string(i), more), "counted on the disk");
    added += more.size();
    ASSERT_TRUE(store->prune(now += 11'000'000));
    const uint64_t live = kept_bytes + added;
    garbage = std::max(blob_bytes_on_disk(dir.path()), live) - live;
  }
  EXPECT_LE(garbage, before / 4) << "after " << added / kMiB << " MiB more";
}

}  // namespace
}  // namespace tapdeck::store
