// What was deleted is in no file of the store any more soon after, without a bound too, and its space comes back.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "daemon/base/eventually.h"
#include "store/store_writer.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

constexpr size_t kMegabyte = 1'000'000;
constexpr size_t kBody = 200'000;
constexpr size_t kSmall = 1000;  // lies in the tables
constexpr size_t kLarge = 300'000;

// Some file of the store has `text` in it.
bool files_hold(const std::string& path, std::string_view text) {
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path, error)) {
    std::ostringstream bytes;
    if (entry.is_regular_file(error)) bytes << std::ifstream(entry.path()).rdbuf();
    if (bytes.view().contains(text)) return true;
  }
  return false;
}

std::string planted(std::string_view mark, size_t size) {
  return "PLANTED-" + std::string(mark) + body_of(1, size);
}

// Asks for `done` once a second of the store's time, as the writer does.
bool comes_true(ExchangeStore& store, const auto& done) {
  int64_t now = 1'000'000'000'000'000;
  return eventually([&] {
    EXPECT_TRUE(store.prune(now += 1'100'000));
    return done();
  });
}

struct Recorded {
  uint64_t dropped = 0, kept = 0;
};

// Bodies of two sessions side by side, so that no file is garbage as a whole.
Recorded fill(ExchangeStore& store) {
  Recorder kept(store, "kept"), dropped(store, "dropped");
  Recorded last;
  for (const size_t size : {kSmall, kLarge, kLarge + 1}) {
    last.kept = kept.record("/kept/" + std::to_string(size), "KEPT-" + body_of(2, size));
    last.dropped = dropped.record("/PLANTED/" + std::to_string(size), planted("session", size));
  }
  return last;
}

TEST(SpaceRound, OfASessionComesBackWithoutABound) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  {
    Recorder recorder(*store, "s");
    for (uint64_t i = 0; i < 300; ++i) recorder.record("/" + std::to_string(i), body_of(i, kBody));
  }
  const std::string db = dir.path() + "/db";
  ASSERT_GE(bytes_below(db), 50 * kMegabyte);
  ASSERT_TRUE(store->delete_session("s"));
  EXPECT_TRUE(comes_true(*store, [&] { return bytes_below(db) < kMegabyte; })) << bytes_below(db) / kMegabyte;
}

TEST(SpaceRound, NothingDeletedStaysInAnyFile) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  const Recorded last = fill(*store);
  ASSERT_TRUE(files_hold(dir.path(), "PLANTED-session"));
  ASSERT_TRUE(store->delete_session("dropped"));
  EXPECT_TRUE(comes_true(*store, [&] { return !files_hold(dir.path(), "PLANTED"); }));
  EXPECT_EQ(store->read_body(store->get(last.kept)->response_body), "KEPT-" + body_of(2, kLarge + 1));
}

TEST(SpaceRound, NorBesideOthersInFilesOfBodies) {
  const TestDirectory dir;
  Recorded last;
  {
    auto store = open_store(dir.path());
    last = fill(*store);
    Recorder(*store, "other").record("/", "other");
    ASSERT_TRUE(store->delete_session("other"));  // puts everything into tables
  }
  auto store = open_store(dir.path());
  ASSERT_TRUE(files_hold(dir.path(), "PLANTED-session"));
  for (uint64_t id = 1; id <= last.dropped; ++id) {
    if (store->get("dropped", id)) ASSERT_TRUE(store->delete_recording(id));
  }
  EXPECT_TRUE(comes_true(*store, [&] { return !files_hold(dir.path(), "PLANTED"); }));
  EXPECT_EQ(store->read_body(store->get(last.kept)->response_body), "KEPT-" + body_of(2, kLarge + 1));
}

TEST(SpaceRound, ACommandThatDeletesLeavesNothing) {
  const TestDirectory dir;
  Recorded last;
  {
    auto store = open_store(dir.path());
    last = fill(*store);
  }
  ASSERT_TRUE(open_store(dir.path())->delete_session("dropped"));
  EXPECT_FALSE(files_hold(dir.path(), "PLANTED"));
  ASSERT_TRUE(files_hold(dir.path(), "KEPT"));
  ASSERT_TRUE(open_store(dir.path())->delete_session("kept"));
  EXPECT_FALSE(files_hold(dir.path(), "KEPT"));
}

TEST(SpaceRound, TheNextOwnerGoesOnWhereOneWasKilled) {
  const TestDirectory dir, copy;
  auto store = open_store(dir.path());
  fill(*store);
  ASSERT_TRUE(store->delete_session("dropped"));
  std::filesystem::copy(dir.path(), copy.path(),
                        std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(files_hold(copy.path(), "PLANTED"));
  auto next = open_store(copy.path());
  EXPECT_TRUE(comes_true(*next, [&] { return !files_hold(copy.path(), "PLANTED"); }));
}

TEST(SpaceRound, OfWhatRetentionRemovedByNumberComesBack) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.max_recordings = 4;
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  for (uint64_t i = 0; i < 300; ++i) recorder.record("/" + std::to_string(i), body_of(i, kBody));
  const std::string db = dir.path() + "/db";
  ASSERT_GE(bytes_below(db), 50 * kMegabyte);
  int64_t now = 0;
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(store->prune(now += 11'000'000));
    return bytes_below(db) < 24 * kMegabyte;
  })) << bytes_below(db) / kMegabyte;
}

TEST(SpaceRound, ComesBackWhileNobodyRecords) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  fill(*store);
  auto writer = StoreWriter::start(*store);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(store->delete_session("dropped"));
  EXPECT_TRUE(eventually([&] { return !files_hold(dir.path(), "PLANTED"); }));
}

}  // namespace
}  // namespace tapdeck::store
