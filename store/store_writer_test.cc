#include "store/store_writer.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "daemon/base/no_threads.h"
#include "store/opening.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

class Answers final : public Completion {
 public:
  void written(uint64_t token, const Result<void>& result) override {
    const std::lock_guard guard(mutex_);
    tokens.push_back(token);
    if (!result) errors.push_back(result.error());
  }
  void dropped(uint64_t token, uint64_t recording, NotKept why) override {
    reasons.push_back(why);
    const std::lock_guard guard(mutex_);
    drops.emplace_back(token, recording);
  }
  std::vector<uint64_t> tokens;
  std::vector<Error> errors;
  std::vector<std::pair<uint64_t, uint64_t>> drops;
  std::vector<NotKept> reasons;  // of drops

 private:
  std::mutex mutex_;
};

TEST(StoreWriter, AnswersEveryHandoverInOrderOnceItCanBeRead) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  Answers answers;
  auto writer = *StoreWriter::start(*store);
  std::vector<uint64_t> ids;
  for (uint64_t i = 0; i < 1000; ++i) {
    auto writes = recorder.whole("/" + std::to_string(i % 7), body_of(i, 2048));
    ids.push_back(writes.back().id);
    ASSERT_TRUE(writer->submit(writes, &answers, i));
    EXPECT_TRUE(writes.empty());
  }
  writer->flush();
  ASSERT_EQ(answers.tokens.size(), 1000u);
  EXPECT_TRUE(std::ranges::is_sorted(answers.tokens));
  EXPECT_TRUE(answers.errors.empty());
  EXPECT_EQ(writer->stats().recordings, 1000u);
  EXPECT_LT(writer->stats().batches, 1000u) << "hand-overs are merged";
  EXPECT_EQ(writer->stats().queued_bytes, 0u);
  for (const auto id : ids) ASSERT_TRUE(store->get("s", id)) << id;
}

TEST(StoreWriter, WhatNobodyWaitsForIsGatheredAndWrittenAllTheSame) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.durability = Durability::Async;
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  Answers answers;
  auto writer = *StoreWriter::start(*store);
  const auto submit = [&](uint64_t i, size_t size) {
    auto writes = recorder.whole("/" + std::to_string(i), body_of(i, size));
    ASSERT_TRUE(writer->submit(writes, &answers, i));
  };
  for (uint64_t i = 0; i < 100; ++i) submit(i, 100);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (writer->stats().recordings < 100 && std::chrono::steady_clock::now() < limit) {
    std::this_thread::yield();  // without a flush
  }
  ASSERT_EQ(writer->stats().recordings, 100u);
  for (uint64_t i = 100; i < 120; ++i) submit(i, 100 << 10);
  writer->flush();
  EXPECT_EQ(writer->stats().recordings, 120u);
  EXPECT_EQ(answers.tokens.size(), 120u);
}

TEST(StoreWriter, RefusesMoreThanItsQueueHolds) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto writer = *StoreWriter::start(*store, {.queue_bytes = 100});
  auto writes = recorder.whole("/", std::string(2000, 'x'));
  const auto refused = writer->submit(writes, nullptr, 0);
  EXPECT_EQ(refused.error().code, Code::Exhausted);
  EXPECT_EQ(writes.size(), 1u) << "the caller keeps what was not taken";
  EXPECT_EQ(writer->stats().refused, 1u);
}

// What is in the store of it already would be there for good, until the next start made a recording of it.
TEST(StoreWriter, ALongRecordingWhoseEndIsRefusedLeavesNothing) {
  const TestDirectory dir;
  Answers answers;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    auto writer = *StoreWriter::start(*store, {.queue_bytes = kSegmentBytes + kSegmentBytes / 2});
    auto builder = recorder.begin("/long");
    builder.response(Recorder::ok());
    builder.body(BodySide::Response, body_of(1, kSegmentBytes), 0);
    std::vector<PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(writer->submit(writes, &answers, 1));
    writer->flush();
    builder.finish({});
    builder.take_writes(writes);
    for (uint64_t i = 0; i < 2; ++i) {
      auto others = recorder.whole("/other", body_of(2 + i, kSegmentBytes));
      std::ranges::move(others, std::back_inserter(writes));
    }
    const size_t size = writes.size();
    ASSERT_FALSE(writer->submit(writes, &answers, 2));
    EXPECT_EQ(writes.size(), size);
    writer->flush();
    EXPECT_EQ(answers.tokens, std::vector<uint64_t>{1}) << "the refusal was the answer";
  }
  EXPECT_EQ(open_store(dir.path())->stored_recordings(), 0U);
}

TEST(StoreWriter, CountsWhatIsNotedOfOriginsBesideRecordings) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto writer = *StoreWriter::start(*store);
  auto writes = recorder.whole("/", "x");
  writes.push_back(greeting_write(*store->open_take("s", Append::Yes), {"http", "mail.test", 25, {}}));
  ASSERT_TRUE(writer->submit(writes, nullptr, 1));
  writer->flush();
  EXPECT_EQ(writer->stats().recordings, 1U);
  EXPECT_EQ(writer->stats().notes, 1U);
}

TEST(StoreWriter, ARecordingWhoseSessionWasDeletedMeanwhileIsToldAsDropped) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder gone(*store, "gone"), kept(*store, "kept");
  Answers answers;
  auto writer = *StoreWriter::start(*store);
  auto lost = gone.whole("/", "x");
  auto writes = kept.whole("/", "y");
  const uint64_t id = lost.back().id;
  ASSERT_TRUE(store->delete_session("gone"));
  ASSERT_TRUE(writer->submit(lost, &answers, 1));
  ASSERT_TRUE(writer->submit(writes, &answers, 2));
  writer->flush();
  EXPECT_THAT(answers.drops, ::testing::ElementsAre(std::pair(uint64_t{1}, id)));
  EXPECT_EQ(answers.tokens.size(), 2U);
  EXPECT_TRUE(answers.errors.empty()) << "the others of its batch are safe";
  EXPECT_EQ(writer->stats().recordings, 1U);
  EXPECT_EQ(store->stored_recordings(), 1U);
}

TEST(StoreWriter, TheDestructorWritesWhatIsQueued) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  {
    auto writer = *StoreWriter::start(*store);
    for (int i = 0; i < 200; ++i) {
      auto writes = recorder.whole("/", "x");
      ASSERT_TRUE(writer->submit(writes, nullptr, 0));
    }
  }
  EXPECT_EQ(store->stored_recordings(), 200u);
}

TEST(StoreWriter, WorkersReadersAndDeletionsOverlap) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  auto writer = *StoreWriter::start(*store);
  std::atomic<bool> stop{false};
  Answers answers;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      Recorder recorder(*store, "s" + std::to_string(t));
      for (int i = 0; i < 200; ++i) {
        auto writes = recorder.whole("/" + std::to_string(i % 5), std::string(3000, 'b'));
        EXPECT_TRUE(writer->submit(writes, &answers, 0));
      }
    });
  }
  std::thread reader([&] {
    while (!stop) {
      for (const auto& item : store->list_recordings({}, 50)->items)
        ignore(store->lookup(item.session, item.key), "may be deleted already");
    }
  });
  std::thread deleter([&] {
    for (int i = 0; i < 20; ++i) ignore(store->delete_session("s1"), "may not exist yet");
  });
  for (auto& thread : threads) thread.join();
  deleter.join();
  writer->flush();
  stop = true;
  reader.join();
  EXPECT_EQ(answers.tokens.size(), 600u);
  EXPECT_TRUE(answers.errors.empty());
  EXPECT_EQ(store->session("s0")->recordings, 200u);
  RecordingFilter of_s2;
  of_s2.session = "s2";
  const auto shared = store->list_recordings(of_s2, 1)->items.at(0);
  EXPECT_EQ(store->read_body(shared.response_body)->size(), 3000u) << "still needed by s0 and s2";
}

// Hands over until the answer is what is waited for.
void await_answer(StoreWriter& writer, const std::function<std::vector<PendingWrite>()>& make,
                  const std::function<bool(const Answers&)>& is_it) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < limit) {
    Answers answers;
    auto writes = make();
    ASSERT_TRUE(writer.submit(writes, &answers, 1));
    writer.flush();
    if (is_it(answers)) return;
  }
  FAIL() << "the answer never came";
}

TEST(StoreWriter, WhatIsWrittenIntoADirectoryThatWasMovedAwayIsLostAndSaidToBe) {
  const TestDirectory dir;
  const std::string path = dir.path() + "/store";
  auto store = open_store(path);
  Recorder recorder(*store, "s");
  auto writer = *StoreWriter::start(*store);
  EXPECT_TRUE(store->check_place());
  std::filesystem::rename(path, dir.path() + "/moved");
  ASSERT_FALSE(store->check_place());
  EXPECT_THAT(store->check_place().error().message(), testing::HasSubstr("removed or renamed"));
  const auto one = [&] { return recorder.whole("/x", "y"); };
  await_answer(*writer, one, [](const Answers& answers) {
    return !answers.errors.empty() && answers.errors[0].message().contains("removed or renamed");
  });
  std::filesystem::create_directory(path);
  EXPECT_FALSE(store->check_place()) << "another one";
  std::filesystem::remove(path);
  std::filesystem::rename(dir.path() + "/moved", path);
  EXPECT_TRUE(store->check_place());
  await_answer(*writer, one, [](const Answers& answers) { return answers.errors.empty(); });
  std::filesystem::remove_all(path + "/db");
  EXPECT_FALSE(store->check_place());
}

TEST(StoreWriter, ARecordingOfWhichAPartWasNotWrittenIsNotKept) {
  const TestDirectory dir;
  const std::string path = dir.path() + "/store";
  auto store = open_store(path);
  Recorder recorder(*store, "s");
  auto writer = *StoreWriter::start(*store);
  auto builder = recorder.begin("/long");
  builder.response(Recorder::ok());
  std::filesystem::rename(path, dir.path() + "/moved");
  uint64_t salt = 0;
  const auto segment = [&] {
    std::vector<PendingWrite> writes;
    builder.body(BodySide::Response, body_of(++salt, kSegmentBytes), 0);
    builder.take_writes(writes);
    return writes;
  };
  await_answer(*writer, segment, [](const Answers& answers) { return !answers.errors.empty(); });
  std::filesystem::rename(dir.path() + "/moved", path);
  std::vector<PendingWrite> writes;
  builder.finish({});
  builder.take_writes(writes);
  Answers answers;
  ASSERT_TRUE(writer->submit(writes, &answers, 7));
  writer->flush();
  EXPECT_TRUE(answers.errors.empty());
  ASSERT_THAT(answers.drops, testing::ElementsAre(std::pair(uint64_t{7}, builder.id())));
  EXPECT_EQ(answers.reasons[0], NotKept::PartMissing);
  EXPECT_EQ(store->stored_recordings(), 0U);
}

TEST(StoreWriter, WithoutAThreadItAndTheDatabaseDoNotStart) {
  const TestDirectory dir;
  auto store = open_store(dir.path() + "/open");
  StoreOptions other;
  other.path = dir.path() + "/other";
  const NoThreads none;
  const auto writer = StoreWriter::start(*store);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, Code::Exhausted);
  const auto opened = ExchangeStore::open(other, Access::ReadWrite);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message().find("cannot start a thread"), std::string::npos) << opened.error().message();
}

// ---- a disk that refuses

// Records 60 MB or until the store refuses (which it must when `expected` is set), lets `relieve` free the disk, and
// asks for everything that was acknowledged.
void expect_recovery(const std::string& path, std::optional<Code> expected, const std::function<void()>& relieve) {
  std::map<uint64_t, std::string> promised;
  {
    auto store = open_store(path);
    ASSERT_NE(store, nullptr);
    Recorder recorder(*store, "s");
    const auto record = [&](uint64_t salt) -> Result<void> {
      const std::string body = body_of(salt, 100'000);
      auto writes = recorder.whole("/x", body);
      const auto id = writes.back().id;
      auto result = store->write(writes, Durability::Wal);
      if (result) promised[id] = body;
      return result;
    };
    Result<void> last;
    uint64_t salt = 1;
    for (; last && salt < 600; ++salt) last = record(salt);
    if (expected) {
      ASSERT_FALSE(last) << "the disk never refused";
      EXPECT_EQ(last.error().code, *expected) << last.error().message();
      EXPECT_FALSE(record(salt++)) << "still refused";
    }
    EXPECT_TRUE(store->get("s", promised.begin()->first)) << "reading goes on";
    relieve();
    for (int i = 0; i < 20; ++i) last = record(salt++);
    EXPECT_TRUE(last) << last.error().message();
  }
  auto store = open_store(path);
  ASSERT_NE(store, nullptr);
  for (const auto& [id, body] : promised) {
    const auto recording = store->get("s", id);
    ASSERT_TRUE(recording) << recording.error().message();
    ASSERT_EQ(*store->read_body(recording->response_body), body);
  }
}

TEST(FullDisk, NothingAcknowledgedIsLostAndWritingGoesOnWhenSpaceReturns) {
  const TestDirectory dir;
  if (::mount("tapdeck-test", dir.path().c_str(), "tmpfs", 0, "size=32m") != 0) GTEST_SKIP() << "cannot mount a tmpfs";
  const std::string filler = dir.path() + "/filler";
  std::ofstream(filler) << std::string(20 << 20, 'f');
  expect_recovery(dir.path() + "/store", Code::NoSpace, [&] { std::filesystem::remove(filler); });
  EXPECT_EQ(::umount2(dir.path().c_str(), MNT_DETACH), 0);
}

TEST(FullDisk, IsNoDamageHoweverOftenItRefuses) {
  const TestDirectory dir;
  if (::mount("tapdeck-test", dir.path().c_str(), "tmpfs", 0, "size=12m") != 0) GTEST_SKIP() << "cannot mount a tmpfs";
  const std::string filler = dir.path() + "/filler";
  {
    auto store = open_store(dir.path() + "/store");
    Recorder recorder(*store, "s");
    recorder.record("/before", "x");
    uint64_t salt = 1;
    int refusals = 0;
    while (refusals < 6) {
      std::ofstream(filler, std::ios::app) << std::string(12 << 20, 'f');  // as far as it goes
      auto writes = recorder.whole("/x", body_of(salt++, 100'000));
      const auto written = store->write(writes, Durability::Wal);
      if (written) continue;
      ++refusals;
      EXPECT_EQ(written.error().code, Code::NoSpace) << written.error().message();
      EXPECT_EQ(written.error().message().find("damaged"), std::string::npos) << written.error().message();
    }
    std::filesystem::remove(filler);
    recorder.record("/after", "x");
  }
  EXPECT_FALSE(std::filesystem::exists(dir.path() + "/store/db.damaged"));
  EXPECT_EQ(::umount2(dir.path().c_str(), MNT_DETACH), 0);
}

// A log that may not grow is put aside by starting another; whether a write fails meanwhile is RocksDB's timing.
TEST(FullDisk, AFileSizeLimitIsNotTheEnd) {
  const TestDirectory dir;
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit small{5 << 20, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_recovery(dir.path(), std::nullopt, [&] { EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
}

}  // namespace
}  // namespace tapdeck::store
