// Look-ups use an iterator again and again, and the block cache only while the store fits into it: neither may show.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Lookup, SeesWhatWasWrittenAndRemovedSinceTheLastOne) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  for (int i = 0; i < 100; ++i) {
    const std::string target = "/" + std::to_string(i);
    EXPECT_THAT(*store->lookup("s", recorder.key(target)), IsEmpty());
    const auto id = recorder.record(target, "x");
    EXPECT_THAT(*store->lookup("s", recorder.key(target)), ElementsAre(id));
    if (i % 3 != 0) continue;
    ASSERT_TRUE(store->delete_recording(id));
    EXPECT_THAT(*store->lookup("s", recorder.key(target)), IsEmpty());
    if (i % 2 != 0) continue;
    ASSERT_TRUE(store->prune(0));
  }
  ASSERT_TRUE(store->delete_session("s"));
  Recorder again(*store, "s");
  EXPECT_THAT(*store->lookup("s", recorder.key("/1")), IsEmpty());
  const auto id = again.record("/1", "x");
  EXPECT_THAT(*store->lookup("s", again.key("/1")), ElementsAre(id));
}

TEST(Lookup, AReaderSeesWhatItRefreshedTo) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const auto first = recorder.record("/a", "x");
  auto reader = open_store(dir.path(), Access::ReadOnly);
  EXPECT_THAT(*reader->lookup("s", recorder.key("/a")), ElementsAre(first));
  const auto second = recorder.record("/a", "x");
  ASSERT_TRUE(reader->refresh());
  EXPECT_THAT(*reader->lookup("s", recorder.key("/a")), ElementsAre(first, second));
  EXPECT_THAT(*reader->lookup("s", recorder.key("/b")), IsEmpty());
}

TEST(Lookup, StoresThatDoNotFitIntoTheCacheAnswerTheSame) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.cache_bytes = 1;
  std::vector<uint64_t> ids;
  for (int run = 0; run < 3; ++run) {
    auto store = open_store(options);
    Recorder recorder(*store, "s", Append::Yes);
    ids.push_back(recorder.record("/a", std::string(5000, 'b')));
    ASSERT_TRUE(store->prune(0));
    EXPECT_EQ(*store->lookup("s", recorder.key("/a")), ids);
    for (const uint64_t id : ids) {
      const auto recording = store->get("s", id);
      ASSERT_TRUE(recording);
      EXPECT_EQ(store->read_body(recording->response_body)->size(), 5000u);
    }
  }
}

TEST(Lookup, OverlapsWithOthersAndWithWrites) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  constexpr uint64_t kRecordings = 2000;
  std::vector<Key> keys;
  for (uint64_t i = 0; i < kRecordings; ++i) keys.push_back(recorder.key("/" + std::to_string(i)));
  std::atomic<uint64_t> written{0}, wrong{0};
  const auto look = [&] {
    for (uint64_t i = 0; written < kRecordings; ++i) {
      const uint64_t there = written;
      if (there == 0) continue;
      const auto ids = store->lookup("s", keys[i % there]);
      if (!ids || ids->size() != 1) ++wrong;
    }
  };
  std::thread one(look), two(look);
  for (uint64_t i = 0; i < kRecordings; ++i) {
    ignore(recorder.record("/" + std::to_string(i), "x"), "looked up by key");
    ++written;
    if (i % 50 == 0) EXPECT_TRUE(store->prune(0));
  }
  one.join();
  two.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace tapdeck::store
