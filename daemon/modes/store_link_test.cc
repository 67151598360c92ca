#include "daemon/modes/store_link.h"

#include <gtest/gtest.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <filesystem>

#include "daemon/exchange/fake_exchange.h"
#include "daemon/modes/replayed_request.h"
#include "daemon/net/task_group.h"
#include "store/test_support.h"

namespace tapdeck::modes {
namespace {

using exchange::FakeExchange;
using namespace std::chrono_literals;

struct LinkRig {
  explicit LinkRig(StoreLinkOptions options = {}, store::WriterOptions writer_options = {},
                   store::Durability durability = store::Durability::Wal)
      : store(open(directory.path(), durability)),
        writer(*store::StoreWriter::start(*store, writer_options)),
        metrics(registry.create()),
        link(io.get_executor(), *writer, metrics, options) {}

  // Commits one finished recording and returns what the exchange would be told.
  Result<void> commit_one() {
    store::Recorder recorder(*store, "default");
    store::RecordingBuilder builder = recorder.begin("/a");
    http::ResponseHead head;
    head.status = 200;
    builder.response(head);
    builder.finish({store::Outcome::Kind::Complete, 0, {}});
    std::vector<store::PendingWrite> writes;
    builder.take_writes(writes);
    if (session_goes) EXPECT_TRUE(store->delete_session("default"));
    std::optional<Result<void>> told;
    auto commit = [&]() -> net::Task<> {
      auto result = co_await link.commit(writes);
      told = result;
    };
    asio::co_spawn(io, commit(), asio::detached);
    const auto limit = std::chrono::steady_clock::now() + 10s;
    while (!told && std::chrono::steady_clock::now() < limit) io.run_one_for(100ms);
    link.close();
    io.restart();
    io.poll();
    return told.value_or(fail(Code::Internal, "commit() hangs"));
  }
  uint64_t count(Counter counter) { return registry.snapshot().value(counter); }
  static std::unique_ptr<store::ExchangeStore> open(const std::string& path, store::Durability durability) {
    store::StoreOptions options;
    options.path = path;
    options.durability = durability;
    return store::open_store(options);
  }

  bool session_goes = false;  // while the exchange goes on
  TestDirectory directory;
  std::unique_ptr<store::ExchangeStore> store;
  std::unique_ptr<store::StoreWriter> writer;
  asio::io_context io{1};
  MetricsRegistry registry;
  Metrics& metrics;
  StoreLink link;
};

TEST(StoreLink, TellsTheExchangeWhenItsRecordingIsInTheStore) {
  LinkRig rig;
  const auto told = rig.commit_one();
  EXPECT_TRUE(told) << told.error().message();
  EXPECT_EQ(rig.store->stored_recordings(), 1U);
  uint64_t observed = 0;
  for (const uint64_t n : rig.registry.snapshot().histograms[static_cast<size_t>(Histogram::CommitWal)].counts)
    observed += n;
  EXPECT_EQ(observed, 1U);
}

TEST(StoreLink, DoesNotWaitWhenNothingIsPromised) {
  StoreLinkOptions options;
  options.hold = Hold::No;
  options.hold_limit = 0ms;
  LinkRig rig(options);
  EXPECT_TRUE(rig.commit_one());
  EXPECT_EQ(rig.count(Counter::StoreHoldExceeded), 0U);
  EXPECT_EQ(rig.store->stored_recordings(), 1U) << "written all the same";
}

TEST(StoreLink, EndsTheHoldAtItsLimitAndCountsIt) {
  StoreLinkOptions options;
  options.hold_limit = 0ms;
  LinkRig rig(options);
  const auto told = rig.commit_one();
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().code, Code::Timeout);
  EXPECT_EQ(rig.count(Counter::StoreHoldExceeded), 1U);
}

TEST(StoreLink, AFullQueueIsALossThatIsToldAndCounted) {
  LinkRig rig({}, {.queue_bytes = 1});
  const auto told = rig.commit_one();
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().code, Code::Exhausted);
  EXPECT_EQ(rig.count(Counter::RecordingDropped), 0U) << "who waits counts it";
  rig.link.lose(told.error());
  EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U);
  EXPECT_EQ(rig.count(Counter::IncompleteStoreSlow), 1U);
  EXPECT_FALSE(rig.link.was_refused(1)) << "it has ended and was told";
  EXPECT_EQ(rig.count(Counter::StoreErrorWrite), 1U);
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
}

TEST(StoreLink, WhatNobodyWaitsForAndIsNotKeptIsCountedOnce) {
  LinkRig rig({.hold = Hold::No}, {.queue_bytes = 1});
  EXPECT_TRUE(rig.commit_one()) << "nothing is promised";
  EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U);
  EXPECT_EQ(rig.count(Counter::IncompleteStoreSlow), 1U);
}

TEST(StoreLink, WhatIsToldAtOnceIsNotCountedAgain) {
  LinkRig rig({.hold_limit = 0ms}, {.queue_bytes = 1});
  EXPECT_FALSE(rig.commit_one());
  EXPECT_EQ(rig.count(Counter::RecordingDropped), 0U) << "who was told counts it";
}

TEST(StoreLink, WhatIsLostAfterItsExchangeLeftIsCountedOnce) {
  LinkRig rig({.hold_limit = 10s}, {.queue_bytes = 1});
  store::Recorder recorder(*rig.store, "default");
  auto writes = recorder.whole("/a", "x");
  Result<void> told;
  net::TaskGroup group(rig.io.get_executor());
  auto commit = [&]() -> net::Task<> {
    auto result = co_await rig.link.commit(writes);
    told = result;
  };
  group.spawn(commit());
  rig.io.poll_one();  // it waits
  group.cancel();
  rig.io.restart();
  rig.io.poll();
  rig.link.close();
  rig.io.restart();
  rig.io.poll();
  ASSERT_FALSE(told);
  EXPECT_EQ(rig.count(Counter::RecordingDropped) + (told.error().code == Code::Cancelled ? 0U : 1U), 1U);
}

// What is written asynchronously is gathered for a moment: the first still waits in the queue when the second comes.
TEST(StoreLink, ARefusalIsAboutItsOwnHandOverOnly) {
  for (const Hold hold : {Hold::UntilWritten, Hold::No}) {
    LinkRig rig({.hold = hold, .hold_limit = 10s}, {.queue_bytes = 64 << 10}, store::Durability::Async);
    store::Recorder recorder(*rig.store, "default");
    std::vector<std::vector<store::PendingWrite>> writes;
    writes.push_back(recorder.whole("/fits", "x"));
    writes.push_back(recorder.whole("/too-long", std::string(100'000, 'x')));
    std::optional<Result<void>> told[2];
    net::TaskGroup group(rig.io.get_executor());
    auto commit = [&](size_t i) -> net::Task<> {
      std::vector<store::PendingWrite>& mine = writes[i];
      auto result = co_await rig.link.commit(mine);
      told[i] = result;
    };
    for (const size_t i : {0U, 1U}) {
      group.spawn(commit(i));
      rig.io.poll();  // one hand-over each
      rig.io.restart();
    }
    const auto limit = std::chrono::steady_clock::now() + 10s;
    while (group.size() > 0 && std::chrono::steady_clock::now() < limit) rig.io.run_one_for(100ms);
    rig.link.close();
    rig.io.restart();
    rig.io.poll();
    ASSERT_TRUE(told[0] && told[1]);
    EXPECT_TRUE(*told[0]) << told[0]->error().message();
    EXPECT_EQ(told[1]->has_value(), hold == Hold::No);
    EXPECT_EQ(rig.count(Counter::RecordingDropped), hold == Hold::No ? 1U : 0U) << "who waits counts it";
    EXPECT_EQ(rig.store->stored_recordings(), 1U);
    EXPECT_TRUE(rig.link.has_room());
  }
}

TEST(StoreLink, WhatWasToldAtTheLimitIsNotCountedAgainWhenItIsDropped) {
  for (const auto limit : {0ms, 1ms}) {
    LinkRig rig({.hold_limit = limit}, {}, store::Durability::Async);
    rig.session_goes = true;
    EXPECT_FALSE(rig.commit_one());
    EXPECT_EQ(rig.count(Counter::RecordingDropped), 0U) << "who was told counts it";
  }
}

TEST(StoreLink, AStoreThatFailsIsAnotherReasonThanASlowOne) {
  LinkRig rig({.hold = Hold::No});
  store::Recorder recorder(*rig.store, "default");
  const std::string path = rig.directory.path();
  std::filesystem::rename(path, path + ".moved");
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (rig.count(Counter::RecordingDropped) == 0 && std::chrono::steady_clock::now() < limit) {
    auto writes = recorder.whole("/a", "x");
    rig.link.add(writes);
    rig.link.close();
    rig.io.restart();
    rig.io.poll();
  }
  std::filesystem::rename(path + ".moved", path);
  EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U);
  EXPECT_EQ(rig.count(Counter::IncompleteStoreError), 1U);
  EXPECT_EQ(rig.count(Counter::IncompleteStoreSlow), 0U);
}

TEST(StoreLink, ARecordingWhoseSessionIsGoneIsLost) {
  for (const Hold hold : {Hold::UntilWritten, Hold::No}) {
    LinkRig rig({.hold = hold, .hold_limit = 10s});
    rig.session_goes = true;
    const auto told = rig.commit_one();
    if (hold == Hold::UntilWritten) {
      ASSERT_FALSE(told);
      EXPECT_EQ(told.error().code, Code::NotFound) << "who waits counts it";
      EXPECT_EQ(rig.count(Counter::RecordingDropped), 0U);
    } else {
      EXPECT_TRUE(told);
      EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U) << "nobody waits";
      EXPECT_EQ(rig.count(Counter::IncompleteSessionDeleted), 1U);
    }
    EXPECT_EQ(rig.store->stored_recordings(), 0U);
  }
}

TEST(StoreLink, WhatWasSavedMeanwhileMayBeRefusedWithoutLoss) {
  LinkRig rig({}, {.queue_bytes = 1});
  store::Recorder recorder(*rig.store, "default");
  store::RecordingBuilder builder = recorder.begin("/a");
  builder.body(store::BodySide::Response, "x", 0);
  builder.checkpoint();
  std::vector<store::PendingWrite> writes;
  builder.take_writes(writes);
  rig.link.add(writes);
  rig.io.poll();
  EXPECT_FALSE(rig.link.was_refused(builder.id())) << "its end has all of it again";
  rig.link.close();
}

TEST(StoreLink, OnlyTheRecordingsThatLostAPartAreLost) {
  LinkRig rig({}, {.queue_bytes = store::kSegmentBytes / 2});
  store::Recorder recorder(*rig.store, "default");
  store::RecordingBuilder unlucky = recorder.begin("/a");
  const store::RecordingBuilder other = recorder.begin("/b");
  std::string segment(store::kSegmentBytes, 'x');
  unlucky.body(store::BodySide::Response, segment, 0);
  segment[0] = 'y';
  unlucky.body(store::BodySide::Response, segment, 0);
  std::vector<store::PendingWrite> writes;
  unlucky.take_writes(writes);
  ASSERT_FALSE(writes.empty());
  rig.link.add(writes);
  rig.io.poll();
  EXPECT_TRUE(rig.link.was_refused(unlucky.id()));
  EXPECT_FALSE(rig.link.was_refused(other.id()));
  unlucky.abandon();
  unlucky.take_writes(writes);
  rig.link.add(writes);
  rig.link.close();
  EXPECT_FALSE(rig.link.was_refused(unlucky.id())) << "its end was queued";
  rig.io.restart();
  rig.io.poll();
}

TEST(StoreLink, ALongBodyWaitsForTheStoreAndGoesOnWhenItHasCaughtUp) {
  LinkRig rig({.hold_limit = 10s});
  store::Recorder recorder(*rig.store, "default");
  store::RecordingBuilder builder = recorder.begin("/a");
  std::string segment(store::kSegmentBytes, 'x');
  for (char c = 'A'; c < 'A' + 40; ++c) {  // 10 MiB, each segment another
    segment[0] = c;
    builder.body(store::BodySide::Response, segment, 0);
  }
  std::vector<store::PendingWrite> writes;
  builder.take_writes(writes);
  EXPECT_TRUE(rig.link.has_room());
  rig.link.add(writes);
  rig.io.poll_one();  // the hand-over; answers come later
  rig.io.restart();
  EXPECT_FALSE(rig.link.has_room());
  std::optional<Result<void>> room;
  auto wait = [&]() -> net::Task<> { room = co_await rig.link.room(); };
  asio::co_spawn(rig.io, wait(), asio::detached);
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (!room && std::chrono::steady_clock::now() < limit) rig.io.run_one_for(100ms);
  ASSERT_TRUE(room);
  EXPECT_TRUE(*room) << room->error().message();
  EXPECT_TRUE(rig.link.has_room());
  EXPECT_FALSE(rig.link.was_refused(builder.id()));
  rig.link.close();
  rig.io.restart();
  rig.io.poll();
}

template <class Body>
void run(Body body) {
  asio::io_context io(1);
  bool over = false;
  auto wrapper = [&]() -> net::Task<> {
    co_await body();
    over = true;
  };
  asio::co_spawn(io, wrapper(), asio::detached);
  io.run_for(10s);
  EXPECT_TRUE(over);
}

TEST(ReplayedRequest, GivesTheBufferedBodyOutAgainWithItsChunks) {
  FakeExchange inner;
  inner.pieces = {{"abc", 3, ";x=1"}, {"de", 4, ""}, {"fg", std::nullopt, ""}};
  ReplayedRequest buffered(inner);
  run([&]() -> net::Task<> {
    std::string seen;
    auto each = [&](std::string_view bytes) { seen += bytes; };
    auto whole = co_await buffered.buffer(1000, each);
    EXPECT_TRUE(whole && *whole);
    EXPECT_EQ(seen, "abcdefg");
    std::string again;
    bool end = false;
    while (!end) {
      auto piece = co_await buffered.read_body();
      if (piece->chunk) again += '{' + std::to_string(piece->chunk->size) + std::string(piece->chunk->extension) + '}';
      again += piece->bytes;
      end = piece->end;
    }
    EXPECT_EQ(again, "{3;x=1}abc{4}defg");
  });
}

TEST(ReplayedRequest, BeyondItsLimitTheRestStreamsOn) {
  FakeExchange inner;
  inner.pieces = {{"0123456789", {}, ""}, {"rest", {}, ""}};
  ReplayedRequest buffered(inner);
  run([&]() -> net::Task<> {
    auto each = [](std::string_view) {};
    auto whole = co_await buffered.buffer(5, each);
    EXPECT_TRUE(whole && !*whole);
    EXPECT_EQ(inner.pieces.size(), 1U) << "no more was taken in than needed to know";
    auto first = co_await buffered.read_body();
    EXPECT_EQ(first->bytes, "0123456789");
    EXPECT_FALSE(first->end);
    auto second = co_await buffered.read_body();
    EXPECT_EQ(second->bytes, "rest");
    EXPECT_TRUE(second->end);
  });
}

}  // namespace
}  // namespace tapdeck::modes
