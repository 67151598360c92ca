// Which recordings retention removes, and that it says so.
#include "store/store_writer.h"

#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

constexpr int64_t kSecond = 1'000'000;

// An exchange that ended `lasted` after it began; call write() when it ends.
class Exchange {
 public:
  Exchange(Recorder& recorder, const std::string& target) : builder_(recorder.begin(target)) {}
  void end(ExchangeStore& store, int64_t lasted) {
    builder_.response(Recorder::ok());
    builder_.body(BodySide::Response, "x", 10);
    builder_.provenance().timings.total = static_cast<uint64_t>(lasted);
    builder_.finish({});
    std::vector<PendingWrite> writes;
    builder_.take_writes(writes);
    ASSERT_TRUE(store.write(writes, Durability::Wal));
  }

 private:
  RecordingBuilder builder_;
};

std::vector<std::string> targets_in(ExchangeStore& store) {
  std::vector<std::string> out;
  const auto page = store.list_recordings({});
  for (const auto& recording : page->items) out.push_back(recording.request.target);
  return out;
}
using Targets = std::vector<std::string>;

TEST(Retention, WhatEndedLastStaysHoweverLongAgoItBegan) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.max_recordings = 3;
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  recorder.set_started(100 * kSecond);
  Exchange slow(recorder, "/slow");
  for (int i = 0; i < 10; ++i) {
    recorder.set_started((101 + i) * kSecond);
    Exchange(recorder, "/short/" + std::to_string(i)).end(*store, kSecond / 2);
    ASSERT_TRUE(store->prune(0));
  }
  slow.end(*store, 60 * kSecond);
  ASSERT_TRUE(store->prune(0));
  EXPECT_EQ(targets_in(*store), (Targets{"/slow", "/short/8", "/short/9"}));
  // And goes when it is its turn.
  for (int i = 10; i < 13; ++i) {
    recorder.set_started((200 + i) * kSecond);
    Exchange(recorder, "/short/" + std::to_string(i)).end(*store, kSecond / 2);
  }
  ASSERT_TRUE(store->prune(0));
  EXPECT_EQ(targets_in(*store), (Targets{"/short/10", "/short/11", "/short/12"}));
}

TEST(Retention, AgeCountsFromTheEnd) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.max_age = std::chrono::seconds(60);
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  recorder.set_started(100 * kSecond);
  Exchange(recorder, "/slow").end(*store, 50 * kSecond);
  recorder.set_started(110 * kSecond);
  Exchange(recorder, "/short").end(*store, kSecond);
  EXPECT_EQ(store->prune(180 * kSecond)->by_age, 1U);
  EXPECT_EQ(targets_in(*store), Targets{"/slow"});
  EXPECT_EQ(store->prune(211 * kSecond)->by_age, 1U);
}

TEST(Retention, TheOldestOfAllSessionsGoes) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.max_recordings = 40;
  auto store = open_store(options);
  Recorder a(*store, "a"), b(*store, "b");
  for (int i = 0; i < 100; ++i) {
    Recorder& one = i % 2 == 0 ? a : b;
    one.set_started((100 + i) * kSecond);
    Exchange(one, "/" + std::to_string(i)).end(*store, kSecond / 2);
  }
  EXPECT_EQ(store->prune(0)->by_count, 60U);
  EXPECT_EQ(store->session("a")->recordings, 20U);
  EXPECT_EQ(store->session("b")->recordings, 20U);
  EXPECT_EQ(targets_in(*store).front(), "/60");
  EXPECT_EQ(store->prune(0)->by_count, 0U);
}

TEST(Retention, IsSaidInTheLogOnceForMany) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.max_recordings = 1;
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  testing::internal::CaptureStderr();
  {
    const auto writer = *StoreWriter::start(*store);
    for (int i = 0; i < 5; ++i) {
      auto writes = recorder.whole("/" + std::to_string(i), "x");
      ASSERT_TRUE(writer->submit(writes, nullptr, 0));
      writer->flush();
      while (store->stored_recordings() > 1) std::this_thread::yield();  // four times over its bound
    }
  }
  const std::string said = testing::internal::GetCapturedStderr();
  size_t lines = 0;
  for (size_t at = 0; (at = said.find("store.pruned", at)) != std::string::npos; ++at) ++lines;
  EXPECT_EQ(lines, 2U) << "the first at once, the others together: " << said;
  EXPECT_NE(said.find("max_recordings"), std::string::npos) << said;
}

TEST(Retention, AnImportTellsWhatItWillRemoveNext) {
  const TestDirectory dir, other;
  const std::string file = other.path() + "/s.tapdeck";
  {
    auto store = open_store(other.path());
    Recorder recorder(*store, "s");
    ignore(recorder.record("/old", "x"), "of 2023");
    recorder.set_started(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count());
    ignore(recorder.record("/new", "x"), "");
    ASSERT_TRUE(store->export_session("s", file));
  }
  StoreOptions options;
  options.path = dir.path();
  EXPECT_EQ(open_store(options)->import_session(file, "unbounded")->too_old, 0U);
  options.max_age = std::chrono::hours(24);
  EXPECT_EQ(open_store(options)->import_session(file, "bounded")->too_old, 1U);
}

TEST(Retention, AnImportCountsAgeFromTheEndToo) {
  const TestDirectory dir, other;
  const std::string file = other.path() + "/s.tapdeck";
  const auto now =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch());
  {
    auto store = open_store(other.path());
    Recorder recorder(*store, "s");
    recorder.set_started((now - std::chrono::hours(25)).count());
    Exchange(recorder, "/slow").end(*store, std::chrono::microseconds(std::chrono::hours(2)).count());
    ASSERT_TRUE(store->export_session("s", file));
  }
  StoreOptions options;
  options.path = dir.path();
  options.max_age = std::chrono::hours(24);
  auto store = open_store(options);
  EXPECT_EQ(store->import_session(file, {})->too_old, 0U);
  ASSERT_TRUE(store->prune(now.count()));
  EXPECT_EQ(targets_in(*store), Targets{"/slow"});
}

// As long as it lives, no file of this process grows beyond `bytes`, which is no lack of space: the store answers a
// failed write by closing its database and opening it again.
class FileLimit {
 public:
  explicit FileLimit(uint64_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &old_), 0);
    const rlimit small{bytes, old_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  }
  ~FileLimit() { EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &old_), 0); }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  rlimit old_{};
};

TEST(Retention, ADiskThatRefusesWhileItPrunesIsNotTheEnd) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.max_recordings = 5;
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  for (int i = 0; i < 50; ++i) recorder.record("/" + std::to_string(i), body_of(static_cast<uint64_t>(i), 9000));
  {
    const FileLimit none(1);
    EXPECT_FALSE(store->prune(0));
    EXPECT_FALSE(store->prune(0)) << "nor when it is closed already";
  }
  const auto counts = store->prune(0);
  ASSERT_TRUE(counts) << counts.error().message();
  EXPECT_EQ(counts->by_count, 45U);
  EXPECT_EQ(targets_in(*store), (Targets{"/45", "/46", "/47", "/48", "/49"}));
}

uint64_t newest_log_bytes(const std::string& db_path) {
  std::filesystem::path newest;
  for (const auto& entry : std::filesystem::directory_iterator(db_path)) {
    if (entry.path().extension() == ".log") newest = std::max(newest, entry.path());
  }
  return std::filesystem::file_size(newest);
}

TEST(Retention, ADiskThatRefusesWhileASessionIsDeletedIsNotTheEnd) {
  const TestDirectory dir;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    for (int i = 0; i < 200; ++i) recorder.record("/" + std::to_string(i), body_of(static_cast<uint64_t>(i), 9000));
  }
  {
    auto store = open_store(dir.path());  // with a new log, and all of that in memory
    ASSERT_TRUE(store->create_session("other"));
    {
      const FileLimit small(newest_log_bytes(dir.path() + "/db") + 200);  // it is hidden, and then no more
      EXPECT_FALSE(store->delete_session("s"));
    }
    EXPECT_EQ(store->session("s").error().code, Code::NotFound);
    ASSERT_TRUE(store->create_session("third"));
    EXPECT_EQ(Recorder(*store, "other").record("/x", "x"), 201U);
  }
  EXPECT_EQ(open_store(dir.path())->stored_recordings(), 1U);
}

TEST(Retention, TheIdOfWhatWasRemovedIsNotGivenAgain) {
  using Remove = void (*)(ExchangeStore&, uint64_t);
  const std::vector<Remove> ways = {
      [](ExchangeStore& store, uint64_t id) { ASSERT_TRUE(store.delete_recording(id)); },
      [](ExchangeStore& store, uint64_t) { ASSERT_TRUE(store.delete_session("s")); },
      [](ExchangeStore& store, uint64_t) { ASSERT_EQ(store.prune(2'000'000'000 * kSecond)->by_age, 2U); }};
  for (const Remove& remove : ways) {
    const TestDirectory dir;
    StoreOptions options;
    options.path = dir.path();
    options.max_age = std::chrono::hours(1);
    uint64_t last = 0;
    {
      auto store = open_store(options);
      Recorder recorder(*store, "s");
      ignore(recorder.record("/first", "1"), "the next one counts");
      last = recorder.record("/second", "2");
      remove(*store, last);
    }
    for (int i = 0; i < 2; ++i) {
      auto store = open_store(options);
      EXPECT_EQ(store->allocate_id(), last + 1);
    }
  }
}

}  // namespace
}  // namespace tapdeck::store
