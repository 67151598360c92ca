// A reader after a crash: nobody has opened the store for writing since.
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

// Leaves a recording that was begun and saved but not finished; its id.
uint64_t begin_one(ExchangeStore& store) {
  Recorder recorder(store, "s");
  auto builder = recorder.begin("/events");
  builder.response(Recorder::ok());
  builder.body(BodySide::Response, "data: 1\n\n", 5);
  builder.checkpoint();
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  EXPECT_TRUE(store.write(writes, Durability::Wal));
  return builder.id();
}

uint64_t recordings(const std::string& path) {
  const auto reader = open_store(path, Access::ReadOnly);
  return reader == nullptr ? 0 : reader->stored_recordings();
}

TEST(ReaderRecovery, AReaderSeesWhatACrashedProcessHadBegun) {
  const TestDirectory dir;
  const uint64_t id = begin_one(*open_store(dir.path()));
  const auto reader = open_store(dir.path(), Access::ReadOnly);
  const auto recording = reader->get("s", id);
  ASSERT_TRUE(recording) << recording.error().message();
  EXPECT_EQ(recording->outcome, (Outcome{Outcome::Kind::Incomplete, 9, "crash"}));
  EXPECT_EQ(*reader->read_body(recording->response_body), "data: 1\n\n");
  EXPECT_EQ(ExchangeStore::owner_of(dir.path()).pid, 0) << "nobody has it open any more";
  const auto writer = open_store(dir.path());
  ASSERT_NE(writer, nullptr) << "a reader holds no lock";
  EXPECT_EQ(writer->stored_recordings(), 1U) << "recovered once";
}

TEST(ReaderRecovery, WhatALivingOwnerHasBegunIsLeftToIt) {
  const TestDirectory dir;
  auto owner = open_store(dir.path());
  begin_one(*owner);
  EXPECT_EQ(recordings(dir.path()), 0U);
  EXPECT_EQ(ExchangeStore::owner_of(dir.path()).pid, ::getpid());
}

TEST(ReaderRecovery, WithoutUnfinishedRecordingsNothingIsWritten) {
  const TestDirectory dir;
  {
    auto store = open_store(dir.path());
    Recorder(*store, "s").record("/a", "body");
  }
  ASSERT_TRUE(fs::remove(dir.path() + "/owner.lock"));
  EXPECT_EQ(recordings(dir.path()), 1U);
  EXPECT_FALSE(fs::exists(dir.path() + "/owner.lock"));
}

TEST(ReaderRecovery, AStoreOfAnotherUserIsOnlyRead) {
  if (::geteuid() != 0) GTEST_SKIP() << "NOT TESTED: needs root to give a directory away";
  const TestDirectory dir;
  begin_one(*open_store(dir.path()));
  ASSERT_EQ(::chown(dir.path().c_str(), 65534, 65534), 0);
  EXPECT_EQ(recordings(dir.path()), 0U) << "files of root in it would keep its user out";
  ASSERT_EQ(::chown(dir.path().c_str(), 0, 0), 0);
  EXPECT_EQ(recordings(dir.path()), 1U);
}

TEST(ReaderRecovery, AnOwnerWaitsForAReaderThatRecovers) {
  const TestDirectory dir;
  open_store(dir.path()).reset();
  const int lock = ::open((dir.path() + "/owner.lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);
  std::ofstream(dir.path() + "/owner") << "pid 1\nrecovers\n";
  std::unique_ptr<ExchangeStore> owner;
  std::thread opening([&] { owner = open_store(dir.path()); });
  ::close(lock);
  opening.join();
  ASSERT_NE(owner, nullptr);
  EXPECT_FALSE(ExchangeStore::owner_of(dir.path()).is_recovering);
}

}  // namespace
}  // namespace tapdeck::store
