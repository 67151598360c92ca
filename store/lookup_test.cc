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

const Outcome kLeft{Outcome::Kind::Incomplete, 0, "client_gone"};
const Outcome kCrash{Outcome::Kind::Incomplete, 0, "crash"};
const Outcome kInterruptedRun{Outcome::Kind::Incomplete, 0, "interrupted"};

TEST(Lookup, WhatItsClientLeftHasItsTurnAmongWhatIsFinished) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  std::vector<uint64_t> ids;
  for (const Outcome& outcome : {kLeft, kCrash, Outcome{}, kLeft, kLeft, kInterruptedRun, Outcome{}, kLeft}) {
    ids.push_back(recorder.record("/x", "x", {}, outcome));
  }
  EXPECT_THAT(*store->lookup("s", recorder.key("/x")), ElementsAre(ids[0], ids[2], ids[3], ids[4], ids[6], ids[7]));
  const auto all = *store->lookup_all("s", recorder.key("/x"));
  EXPECT_THAT(all.ids, ElementsAre(ids[0], ids[2], ids[3], ids[4], ids[6], ids[7], ids[1], ids[5]));
  EXPECT_EQ(all.usable, 6U);
  EXPECT_EQ(all.last, 4U);
  EXPECT_THAT(all.left, ElementsAre(ids[0], ids[3], ids[4], ids[7]));
  for (const uint64_t id : {ids[2], ids[6]}) ASSERT_TRUE(store->delete_recording(id));
  const auto unfinished = *store->lookup_all("s", recorder.key("/x"));
  EXPECT_THAT(unfinished.ids, ElementsAre(ids[0], ids[1], ids[3], ids[4], ids[5], ids[7]));
  EXPECT_EQ(unfinished.usable, 6U);
  EXPECT_EQ(unfinished.last, std::nullopt);
  EXPECT_THAT(unfinished.left, IsEmpty());
}

TEST(Lookup, WhatWasLeftHasItsTurnInTheTakeThatAnswersAlone) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder first(*store, "s");
  ignore(first.record("/x", "1"), "an older take");
  Recorder second(*store, "s");
  const auto left = second.record("/x", "2", {}, kLeft);
  const auto whole = second.record("/x", "3");
  Recorder third(*store, "s");
  const auto newer = third.record("/x", "4", {}, kLeft);
  const auto all = *store->lookup_all("s", third.key("/x"));
  EXPECT_THAT(all.ids, ElementsAre(left, whole, newer));
  EXPECT_EQ(all.usable, 2U) << "nothing says how that take would go on";
  EXPECT_EQ(all.last, 1U);
}

// Rows of versions before ReplayRank::Left.
TEST(Lookup, OnOlderTapesWhatWasLeftIsTheLastResort) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto left = recorder.whole("/x", "1", {}, kLeft);
  left.back().rank = ReplayRank::LastResort;
  ASSERT_TRUE(store->write(left, Durability::Wal));
  const auto whole = recorder.record("/x", "2");
  EXPECT_THAT(*store->lookup("s", recorder.key("/x")), ElementsAre(whole));
  EXPECT_THAT(store->lookup_all("s", recorder.key("/x"))->ids, ElementsAre(whole, left.back().id));
}

TEST(Lookup, WhatWasLeftKeepsItsTurnThroughExportAndMerge) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path() + "/store";
  auto store = open_store(options);
  auto pending = *ExchangeStore::open_pending(options);
  Recorder recorder(*pending, "s");
  for (const Outcome& outcome : {Outcome{}, kLeft, kCrash, kLeft, Outcome{}}) {
    ignore(recorder.record("/x", "x", {}, outcome), "looked up by key");
  }
  const Key key = recorder.key("/x");
  const std::string directory = pending->options().path;
  pending.reset();
  EXPECT_EQ(*store->merge_pending(directory), 5U);
  ASSERT_TRUE(store->export_session("s", dir.path() + "/file"));
  ASSERT_TRUE(store->import_session(dir.path() + "/file", "again"));
  for (const char* session : {"s", "again"}) {
    const auto all = *store->lookup_all(session, key);
    EXPECT_EQ(all.ids.size(), 5U);
    EXPECT_EQ(all.usable, 4U);
    EXPECT_EQ(all.last, 3U);
    EXPECT_THAT(all.left, ElementsAre(all.ids[1], all.ids[2]));
  }
}

// Whether it left by itself was not written down before version 4.
TEST(Lookup, WhatWasLeftOnOlderTapesIsTheLastResortBehindExportAndMergeToo) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path() + "/store";
  auto store = open_store(options);
  auto pending = *ExchangeStore::open_pending(options);
  Recorder recorder(*pending, "s");
  auto left = recorder.whole("/x", "1", {}, kLeft);
  left.back().encoded[0] = 3;  // as long as the fields are the same
  left.back().rank = ReplayRank::LastResort;
  ASSERT_TRUE(pending->write(left, Durability::Wal));
  ignore(recorder.record("/x", "2"), "looked up by key");
  const Key key = recorder.key("/x");
  const std::string directory = pending->options().path;
  pending.reset();
  EXPECT_EQ(*store->merge_pending(directory), 2U);
  ASSERT_TRUE(store->export_session("s", dir.path() + "/file"));
  ASSERT_TRUE(store->import_session(dir.path() + "/file", "again"));
  for (const char* session : {"s", "again"}) {
    const auto all = *store->lookup_all(session, key);
    EXPECT_EQ(all.ids.size(), 2U);
    EXPECT_EQ(all.usable, 1U);
    EXPECT_THAT(all.left, ::testing::IsEmpty());
  }
}

KeyParts asking(const std::string& query, const std::string& body = {}) {
  KeyParts out{"https", "api.example.com", 443, body.empty() ? "GET" : "POST", "/a", query, {}, body.size(), {}};
  if (!body.empty()) out.body_digest = content_digest(body);
  return out;
}

TEST(Lookup, NamesTheQueryThatHasMostOfItsParametersBeforeNewerOnes) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const auto same_user = recorder.record("/a?user=alice&ts=1", "x");
  const auto reordered = recorder.record("/a?ts=9&user=bob", "x");
  const auto one_alike = recorder.record("/a?ts=8&x=1", "x");
  const auto other = recorder.record("/a?z=3", "x");
  const auto other_path = recorder.record("/b?user=alice&ts=2", "x");
  std::vector<uint64_t> named;
  for (const Nearest& near : *store->nearest("s", asking("user=alice&ts=2"), 9)) named.push_back(near.id);
  EXPECT_THAT(named, ElementsAre(same_user, reordered, one_alike, other, other_path));
}

TEST(Lookup, NamesTheBodyOfLikeSizeBeforeNewerOnes) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const std::string part = "\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
  const auto form = recorder.record("/a", "x", "--boundary-1" + part + "--boundary-1--\r\n");
  const auto blob = recorder.record("/a", "x", std::string(5000, 'b'));
  const auto same_body = recorder.record("/a?x=1", "x", "--boundary-2" + part + "--boundary-2--\r\n");
  std::vector<uint64_t> named;
  const KeyParts asked = asking("", "--boundary-2" + part + "--boundary-2--\r\n");
  for (const Nearest& near : *store->nearest("s", asked, 9)) named.push_back(near.id);
  EXPECT_THAT(named, ElementsAre(form, blob, same_body)) << "a wrong body of the right call says more";
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
