#include "store/store_writer.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <thread>

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
  std::vector<uint64_t> tokens;
  std::vector<Error> errors;

 private:
  std::mutex mutex_;
};

std::string body_of(uint64_t id, size_t size) {
  std::string body(size, static_cast<char>('a' + id % 26));
  const std::string name = std::to_string(id);
  if (size >= name.size()) body.replace(0, name.size(), name);
  return body;
}

TEST(StoreWriter, AnswersEveryHandoverInOrderOnceItCanBeRead) {
  const TempDirectory dir;
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

TEST(StoreWriter, RefusesMoreThanItsQueueHolds) {
  const TempDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto writer = *StoreWriter::start(*store, {.queue_bytes = 100});
  auto writes = recorder.whole("/", std::string(2000, 'x'));
  const auto refused = writer->submit(writes, nullptr, 0);
  EXPECT_EQ(refused.error().code, Code::Exhausted);
  EXPECT_EQ(writes.size(), 1u) << "the caller keeps what was not taken";
  EXPECT_EQ(writer->stats().refused, 1u);
}

TEST(StoreWriter, TheDestructorWritesWhatIsQueued) {
  const TempDirectory dir;
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
  const TempDirectory dir;
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

// ---- crash: the child is this executable again, because RocksDB's threads do not survive a plain fork.

struct Child {
  pid_t pid = -1;
  int acknowledged = -1;  // read end: eight bytes an acknowledged id
};

Child spawn_child(const std::string& test, const std::string& directory) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const std::string path = "TAPDECK_TEST_STORE=" + directory;
  const std::string fd = "TAPDECK_TEST_FD=" + std::to_string(ends[1]);
  const std::string filter = "--gtest_filter=" + test;
  const char* argv[] = {"store_test", filter.c_str(), "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr};
  const char* environment[] = {path.c_str(), fd.c_str(), "PATH=/usr/bin:/bin", nullptr};
  Child child;
  EXPECT_EQ(::posix_spawn(&child.pid, "/proc/self/exe", nullptr, nullptr, const_cast<char**>(argv),
                          const_cast<char**>(environment)),
            0);
  ::close(ends[1]);
  child.acknowledged = ends[0];
  return child;
}

class PipeAnswers final : public Completion {
 public:
  explicit PipeAnswers(int fd) : fd_(fd) {}
  void written(uint64_t token, const Result<void>& result) override {
    if (result) EXPECT_EQ(::write(fd_, &token, sizeof token), static_cast<ssize_t>(sizeof token));
  }

 private:
  int fd_;
};

TEST(CrashChild, DISABLED_RecordsUntilKilled) {
  const char* path = ::getenv("TAPDECK_TEST_STORE");
  ASSERT_NE(path, nullptr);
  auto store = open_store(std::string(path));
  auto writer = *StoreWriter::start(*store);
  PipeAnswers answers(std::stoi(::getenv("TAPDECK_TEST_FD")));
  Recorder recorder(*store, "s");
  while (true) {
    auto builder = recorder.begin("/x");
    builder.response(Recorder::ok());
    const uint64_t id = builder.id();
    builder.body(BodySide::Response, body_of(id, 3000), 1);
    builder.finish({});
    std::vector<PendingWrite> writes;
    builder.take_writes(writes);
    while (!writer->submit(writes, &answers, id)) writer->flush();
  }
}

std::vector<uint64_t> kill_after(const Child& child, size_t acknowledged) {
  std::vector<uint64_t> ids;
  uint64_t id = 0;
  bool killed = false;
  while (::read(child.acknowledged, &id, sizeof id) == static_cast<ssize_t>(sizeof id)) {
    ids.push_back(id);
    if (ids.size() < acknowledged || killed) continue;
    ::kill(child.pid, SIGKILL);
    killed = true;  // what is in the pipe by then was promised too
  }
  int status = 0;
  ::waitpid(child.pid, &status, 0);
  ::close(child.acknowledged);
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  return ids;
}

TEST(Crash, EveryAcknowledgedRecordingOutlivesKillMinusNine) {
  const TempDirectory dir;
  std::mt19937 random(1);
  size_t promised = 0;
  for (int round = 0; round < 50; ++round) {
    const auto ids = kill_after(spawn_child("CrashChild.DISABLED_RecordsUntilKilled", dir.path()), 1 + random() % 400);
    promised += ids.size();
    auto store = open_store(dir.path());
    ASSERT_NE(store, nullptr);
    for (const auto id : ids) {
      const auto recording = store->get("s", id);
      ASSERT_TRUE(recording) << "round " << round << ": " << recording.error().message();
      ASSERT_EQ(*store->read_body(recording->response_body), body_of(id, 3000));
    }
    ASSERT_TRUE(store->delete_session("s"));
  }
  EXPECT_GT(promised, 50u);
}

TEST(CrashChild, DISABLED_StopsInTheMiddleOfALongBody) {
  auto store = open_store(std::string(::getenv("TAPDECK_TEST_STORE")));
  Recorder recorder(*store, "s");
  auto builder = recorder.begin("/long", "question");
  builder.response(Recorder::ok());
  builder.body(BodySide::Response, std::string(600'000, 'z'), 1);
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  ASSERT_TRUE(store->write(writes, Durability::Wal));
  const uint64_t id = builder.id();
  ASSERT_EQ(::write(std::stoi(::getenv("TAPDECK_TEST_FD")), &id, sizeof id), 8);
  while (true) ::pause();
}

TEST(Crash, ALongBodyLeavesAMarkedPrefixThatIsFound) {
  const TempDirectory dir;
  const auto ids = kill_after(spawn_child("CrashChild.DISABLED_StopsInTheMiddleOfALongBody", dir.path()), 1);
  ASSERT_EQ(ids.size(), 1u);
  auto store = open_store(dir.path());
  const auto recording = store->get("s", ids[0]);
  ASSERT_TRUE(recording) << recording.error().message();
  EXPECT_EQ(recording->outcome, (Outcome{Outcome::Kind::Incomplete, 2 * kSegmentBytes, "crash"}));
  EXPECT_EQ(store->read_body(recording->response_body)->size(), 2 * kSegmentBytes);
  EXPECT_EQ(*store->read_body(recording->request_body), "question");
  const KeyHasher hasher(*store->key_secret("s"));
  KeyBuilder key(hasher, "https", "api.example.com", 443, "POST", "/long");
  key.body("question");
  EXPECT_THAT(*store->lookup("s", key.key()), ::testing::ElementsAre(ids[0]));
  store.reset();
  store = open_store(dir.path());
  EXPECT_EQ(store->stored_recordings(), 1u) << "recovered once";
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
  const TempDirectory dir;
  if (::mount("tapdeck-test", dir.path().c_str(), "tmpfs", 0, "size=32m") != 0) GTEST_SKIP() << "cannot mount a tmpfs";
  const std::string filler = dir.path() + "/filler";
  std::ofstream(filler) << std::string(20 << 20, 'f');
  expect_recovery(dir.path() + "/store", Code::NoSpace, [&] { std::filesystem::remove(filler); });
  EXPECT_EQ(::umount2(dir.path().c_str(), MNT_DETACH), 0);
}

// A log that may not grow is put aside by starting another; whether a write fails meanwhile is RocksDB's timing.
TEST(FullDisk, AFileSizeLimitIsNotTheEnd) {
  const TempDirectory dir;
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
