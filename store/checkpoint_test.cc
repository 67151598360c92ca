// Checkpoints: what a recording that lives long leaves behind when the process dies before its end.
#include <gmock/gmock.h>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

Message text(BodySide side, uint64_t microseconds) {
  Message message;
  message.side = side;
  message.kind = Message::Kind::Text;
  message.microseconds = microseconds;
  return message;
}

void save(ExchangeStore& store, RecordingBuilder& builder) {
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  const auto written = store.write(writes, Durability::Wal);
  ASSERT_TRUE(written) << written.error().message();
}

// A connection that was switched: nothing of it is in the store yet.
RecordingBuilder talking(Recorder& recorder) {
  auto builder = recorder.begin("/chat");
  http::ResponseHead head = Recorder::ok();
  head.status = 101;
  builder.response(head);
  return builder;
}

std::string payload_of(const ExchangeStore& store, const Recording& recording, const Message& message) {
  const BodyRef& body = message.side == BodySide::Request ? recording.request_body : recording.response_body;
  return store.read_body(body)->substr(message.offset, message.length);
}

TEST(Checkpoint, MessagesOfADeadProcessAreFoundAsAMarkedPrefix) {
  const TestDirectory dir;
  uint64_t id = 0;
  Key key;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    auto builder = talking(recorder);
    id = builder.id();
    key = recorder.key("/chat");
    builder.message(text(BodySide::Request, 5), "hello");
    builder.message(text(BodySide::Response, 7), "world!");
    builder.checkpoint();
    save(*store, builder);
    builder.message(text(BodySide::Response, 9), "again");
    builder.checkpoint();
    builder.checkpoint();
    save(*store, builder);
    builder.message(text(BodySide::Response, 11), "lost with the process");
  }
  auto store = open_store(dir.path());
  EXPECT_EQ(store->recovered(), 1U);
  const auto recording = store->get("s", id);
  ASSERT_TRUE(recording) << recording.error().message();
  EXPECT_EQ(recording->response.status, 101);
  EXPECT_EQ(recording->outcome, (Outcome{Outcome::Kind::Incomplete, 11, "crash"}));
  ASSERT_EQ(recording->messages.size(), 3U);
  EXPECT_EQ(payload_of(*store, *recording, recording->messages[0]), "hello");
  EXPECT_EQ(payload_of(*store, *recording, recording->messages[1]), "world!");
  EXPECT_EQ(payload_of(*store, *recording, recording->messages[2]), "again");
  EXPECT_EQ(recording->messages[2].microseconds, 9U);
  EXPECT_THAT(*store->lookup("s", key), ::testing::ElementsAre(id)) << "messages are no part of the key";
}

TEST(Checkpoint, SegmentsAndJournalJoinWithoutAHole) {
  const TestDirectory dir;
  uint64_t id = 0;
  std::string sent;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    auto builder = talking(recorder);
    id = builder.id();
    // Below and above what a checkpoint writes as a segment, and across the size at which a segment is full.
    for (const size_t size : {10U, 60'000U, 150'000U, 5U, 300'000U, 70'000U, 1U}) {
      const std::string payload(size, static_cast<char>('a' + sent.size() % 26));
      sent += payload;
      builder.message(text(BodySide::Response, sent.size()), payload);
      if (size != 5U) builder.checkpoint();
      save(*store, builder);
    }
  }
  auto store = open_store(dir.path());
  const auto recording = store->get("s", id);
  ASSERT_TRUE(recording) << recording.error().message();
  EXPECT_TRUE(*store->read_body(recording->response_body) == sent);
  EXPECT_EQ(recording->messages.size(), 7U);
}

TEST(Checkpoint, AFinishedRecordingIsTheSameAsWithoutCheckpoints) {
  const TestDirectory dir;
  std::vector<uint64_t> ids;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    for (const bool saves : {false, true}) {
      auto builder = talking(recorder);
      ids.push_back(builder.id());
      builder.message(text(BodySide::Request, 5), "hello");
      if (saves) builder.checkpoint();
      builder.message(text(BodySide::Response, 6), "world");
      if (saves) builder.checkpoint();
      builder.finish({});
      save(*store, builder);
    }
  }
  auto store = open_store(dir.path());
  EXPECT_EQ(store->stored_recordings(), 2U) << "nothing is left to recover";
  const auto plain = store->get("s", ids[0]), saved = store->get("s", ids[1]);
  ASSERT_TRUE(plain && saved);
  EXPECT_EQ(saved->messages, plain->messages);
  EXPECT_EQ(saved->response_body, plain->response_body);
  EXPECT_EQ(saved->request_body, plain->request_body);
  EXPECT_EQ(saved->outcome.kind, Outcome::Kind::Complete);
}

TEST(Checkpoint, AKeyThatWasOnlyKnownLaterReplacesTheFirst) {
  const TestDirectory dir;
  uint64_t id = 0;
  Key early, whole;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    auto builder = recorder.begin("/upload", "half");
    id = builder.id();
    builder.response(Recorder::ok());
    builder.body(BodySide::Response, "1", 1);
    KeyBuilder meanwhile = builder.key_builder();
    meanwhile.dimension("early", "8");
    early = KeyBuilder(meanwhile).key();
    whole = recorder.key("/upload", "halfhalf");
    builder.checkpoint(&meanwhile);
    save(*store, builder);
    EXPECT_TRUE(builder.is_saved(4, 1));
    builder.body(BodySide::Request, "half", 2);
    builder.body(BodySide::Response, "2", 2);
    EXPECT_FALSE(builder.is_saved(4, 2));
    builder.checkpoint();
    save(*store, builder);
  }
  auto store = open_store(dir.path());
  EXPECT_THAT(*store->lookup("s", whole), ::testing::ElementsAre(id));
  EXPECT_THAT(*store->lookup("s", early), ::testing::IsEmpty());
  const auto recording = store->get("s", id);
  ASSERT_TRUE(recording);
  EXPECT_EQ(*store->read_body(recording->request_body), "halfhalf");
  EXPECT_EQ(*store->read_body(recording->response_body), "12");
}

TEST(Checkpoint, WhatIsGivenUpLeavesNothing) {
  for (const bool in_one_batch : {false, true}) {
    const TestDirectory dir;
    {
      auto store = open_store(dir.path());
      Recorder recorder(*store, "s");
      auto given_up = recorder.begin("/given up", body_of(1, 2 * kSegmentBytes));
      if (!in_one_batch) save(*store, given_up);
      auto other = recorder.begin("/other", body_of(2, kSegmentBytes) + body_of(1, kSegmentBytes));
      other.response(Recorder::ok());
      other.finish({});
      std::vector<PendingWrite> writes;
      given_up.take_writes(writes);
      given_up.abandon();
      given_up.take_writes(writes);
      other.take_writes(writes);
      ASSERT_TRUE(store->write(writes, Durability::Wal));
    }
    auto store = open_store(dir.path());
    const auto page = store->list_recordings({});
    ASSERT_EQ(page->items.size(), 1U);
    EXPECT_TRUE(store->read_body(page->items[0].request_body)) << "a segment of both";
    ASSERT_TRUE(store->delete_recording(page->items[0].id));
    EXPECT_EQ(store->stored_bytes(), 0U) << (in_one_batch ? "in one batch" : "in two");
  }
}

}  // namespace
}  // namespace tapdeck::store
