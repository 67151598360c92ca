// kill -9 of a process that records: what it acknowledged is there, what it had begun is a marked prefix.
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <random>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

struct Child {
  pid_t pid = -1;
  int acknowledged = -1;  // read end: eight bytes an acknowledged id
};

Child spawn_child(const char* what, const std::string& directory) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const std::string fd = std::to_string(ends[1]);
  const char* argv[] = {TAPDECK_CRASH_CHILD, what, directory.c_str(), fd.c_str(), nullptr};
  const char* environment[] = {"PATH=/usr/bin:/bin", nullptr};
  Child child;
  EXPECT_EQ(::posix_spawn(&child.pid, TAPDECK_CRASH_CHILD, nullptr, nullptr, const_cast<char**>(argv),
                          const_cast<char**>(environment)),
            0);
  ::close(ends[1]);
  child.acknowledged = ends[0];
  return child;
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
  std::mt19937 random(1);
  size_t promised = 0;
  std::optional<TestDirectory> dir;
  for (int round = 0; round < 50; ++round) {
    // Ten kills in a row on one store; more would only replay the same old log again and again.
    if (round % 10 == 0) dir.emplace();
    const auto ids = kill_after(spawn_child("record", dir->path()), 1 + random() % 400);
    promised += ids.size();
    auto store = open_store(dir->path());
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

TEST(Crash, ALongBodyLeavesAMarkedPrefixThatIsFound) {
  const TestDirectory dir;
  const auto ids = kill_after(spawn_child("long-body", dir.path()), 1);
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

TEST(Crash, WhatWasWithdrawnWhileItWasBeingWrittenIsNotThere) {
  for (const Access access : {Access::ReadWrite, Access::ReadOnly}) {
    const TestDirectory dir;
    const auto ids = kill_after(spawn_child("withdrawn", dir.path()), 1);
    ASSERT_EQ(ids.size(), 1u);
    const auto store = open_store(dir.path(), access);
    ASSERT_NE(store, nullptr);
    EXPECT_FALSE(store->get("s", ids[0]));
    EXPECT_EQ(store->stored_recordings(), 1u);
    EXPECT_FALSE(std::filesystem::exists(dir.path() + "/withdrawn")) << "done once";
  }
}

TEST(Crash, OfWhatWasWithdrawnBeforeItsEndWasWrittenNothingIsLeft) {
  const TestDirectory dir;
  const auto ids = kill_after(spawn_child("withdrawn-begun", dir.path()), 1);
  ASSERT_EQ(ids.size(), 1u);
  const auto store = open_store(dir.path());
  ASSERT_NE(store, nullptr);
  EXPECT_FALSE(store->get("s", ids[0]));
  EXPECT_EQ(store->stored_recordings(), 1u) << "what held the writer";
}

}  // namespace
}  // namespace tapdeck::store
