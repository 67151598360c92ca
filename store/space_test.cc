// What a store takes of the disk beside what is stored, and how it goes on when there is no more.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "store/test_small_disk.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kMiB = 1 << 20;
constexpr int64_t kTick = 11'000'000;

StoreOptions bounded(const std::string& path, uint64_t bytes) {
  StoreOptions options;
  options.path = path;
  options.max_bytes = bytes;
  return options;
}

TEST(Space, WithABoundTheFilesStayNearIt) {
  const TestDirectory dir;
  constexpr uint64_t kBound = 16 * kMiB;
  auto store = open_store(bounded(dir.path(), kBound));
  Recorder recorder(*store, "s");
  uint64_t most = 0;
  int64_t now = 0;
  for (uint64_t i = 0; i < 900; ++i) {
    ignore(recorder.record("/" + std::to_string(i), body_of(i, 100'000)), "counted on the disk");
    ASSERT_TRUE(store->prune(now += kTick));
    most = std::max(most, bytes_below(dir.path()));
  }
  EXPECT_LE(most, 3 * kBound + 16 * kMiB) << most / kMiB;
}

TEST(Space, AStoreAtItsBoundGoesOnWhenTheDiskFillsUp) {
  SmallDisk disk(128);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  auto store = open_store(bounded(disk.store(), 24 * kMiB));
  ASSERT_NE(store, nullptr);
  Recorder recorder(*store, "s");
  int64_t now = 0;
  uint64_t salt = 1;
  const auto record = [&]() -> Result<void> {
    auto writes = recorder.whole("/x", body_of(salt++, 100'000));
    auto written = store->write(writes, Durability::Wal);
    ignore(store->prune(now += kTick), "the next one tries again");
    return written;
  };
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(record());
  disk.fill();
  Result<void> last;
  for (int i = 0; i < 300; ++i) last = record();
  EXPECT_TRUE(last) << last.error().message();
  EXPECT_GE(store->stored_bytes(), 20 * kMiB) << "what is not the oldest stays";
}

TEST(Space, AFullDiskIsNoReasonNotToOpenNorToDelete) {
  SmallDisk disk(96);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  {
    auto store = open_store(disk.store());
    ASSERT_NE(store, nullptr);
    Recorder old(*store, "old"), kept(*store, "kept");
    for (uint64_t i = 0; i < 200; ++i) old.record("/" + std::to_string(i), body_of(i, 100'000));
    kept.record("/x", "kept");
  }
  disk.fill();
  auto store = open_store(disk.store());
  ASSERT_NE(store, nullptr);
  const auto deleted = store->delete_session("old");
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_GE(fs::space(disk.store()).available, 10 * kMiB);
  EXPECT_EQ(store->list_recordings({})->items.size(), 1U);
  EXPECT_NE(Recorder(*store, "new").record("/y", "y"), 0U);
}

// Whatever is recorded meanwhile: what leads to more space can be done, again and again.
TEST(Space, WhatIsSetAsideIsNotForRecordings) {
  SmallDisk disk(128);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  auto store = open_store(disk.store());
  ASSERT_NE(store, nullptr);
  const std::string reserve = disk.store() + "/reserve";
  Recorder recorder(*store, "s");
  int64_t now = 0;
  uint64_t salt = 1;
  const auto fill = [&] {
    for (int i = 0; i < 50; ++i) {
      auto writes = recorder.whole("/x", body_of(salt++, 3'000'000));
      ignore(store->write(writes, Durability::Wal), "the disk is full");
      ignore(store->prune(now += kTick), "the next one tries again");
    }
  };
  fill();
  EXPECT_TRUE(fs::exists(reserve)) << "nobody has removed anything";
  disk.fill();
  for (int round = 0; round < 8; ++round) {
    const auto listed = store->list_recordings({});
    ASSERT_TRUE(listed) << listed.error().message();
    ASSERT_FALSE(listed->items.empty());
    const auto deleted = store->delete_recording(listed->items.front().id);
    ASSERT_TRUE(deleted) << round << ": " << deleted.error().message();
    fill();
  }
  EXPECT_FALSE(fs::exists(reserve)) << "or nothing was seen";
  const auto deleted = store->delete_session("s");
  ASSERT_TRUE(deleted) << deleted.error().message();
  disk.relieve();
  EXPECT_NE(Recorder(*store, "new").record("/y", "y"), 0U);
}

TEST(Space, WhatIsSetAsideDoesNotGoToARecordingThatOpensTheStoreAnew) {
  SmallDisk disk(96);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  const std::string reserve = disk.store() + "/reserve";
  {
    ASSERT_NE(open_store(disk.store()), nullptr);
  }
  ASSERT_TRUE(fs::remove(reserve));
  disk.fill_with_files();
  const auto store = open_store(disk.store());  // it is only read
  ASSERT_NE(store, nullptr);
  fs::rename(disk.files() + "/0", reserve);
  const auto refused = store->create_session("s");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::NoSpace) << refused.error().message();
  EXPECT_TRUE(fs::exists(reserve));
}

TEST(Space, WithNothingSetAsideAFullDiskIsReadUntilThereIsRoom) {
  SmallDisk disk(64);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  uint64_t id = 0;
  {
    auto store = open_store(disk.store());
    ASSERT_NE(store, nullptr);
    id = Recorder(*store, "s").record("/x", "x");
  }
  fs::remove(disk.store() + "/reserve");
  disk.fill();
  const auto opened = ExchangeStore::open(bounded(disk.store(), 0), Access::ReadWrite);
  ASSERT_TRUE(opened) << opened.error().message();
  auto& store = **opened;
  ASSERT_TRUE(store.get("s", id));
  EXPECT_EQ(ExchangeStore::owner_of(disk.store()).pid, 0) << "nobody is better than somebody else";
  const auto refused = store.delete_recording(id);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::NoSpace) << refused.error().message();
  EXPECT_NE(refused.error().message().find("free some space first"), std::string::npos) << refused.error().message();
  EXPECT_TRUE(store.get("s", id)) << "reading goes on";
  disk.relieve();
  EXPECT_TRUE(store.delete_recording(id));
  EXPECT_NE(Recorder(store, "s").record("/y", "y"), 0U);
}

TEST(Space, ANewStoreOnAFullDiskSaysWhatToDo) {
  SmallDisk disk(4);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  fs::create_directories(disk.store());
  disk.fill();
  const auto opened = ExchangeStore::open(bounded(disk.store(), 0), Access::ReadWrite);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::NoSpace);
  EXPECT_NE(opened.error().message().find("free some space and start again"), std::string::npos)
      << opened.error().message();
  EXPECT_EQ(opened.error().message().find("by itself"), std::string::npos) << opened.error().message();
}

}  // namespace
}  // namespace tapdeck::store
