#include "daemon/modes/turns.h"

#include <gtest/gtest.h>

#include "store/test_support.h"

namespace tapdeck::modes {
namespace {

// The head at 100; pieces of one byte at these moments, the request's end as one of none.
store::Recording exchange_of(const std::vector<uint64_t>& request, const std::vector<uint64_t>& response,
                             uint64_t end = 0) {
  store::Recording out;
  out.response.status = 200;
  out.provenance.timings.first_byte = 100;
  for (const uint64_t moment : request) {
    out.request_body.timeline.push_back({store::Chunk::Kind::Arrival, out.request_body.size++, 1, moment, {}});
  }
  if (end > 0) out.request_body.timeline.push_back({store::Chunk::Kind::H1Chunk, out.request_body.size, 0, end, {}});
  for (const uint64_t moment : response) {
    out.response_body.timeline.push_back({store::Chunk::Kind::Arrival, out.response_body.size++, 1, moment, {}});
  }
  return out;
}

store::Recording of_known_length(store::Recording recording) {
  recording.response.headers.add("Content-Length", "1");
  return recording;
}

TEST(Turns, AreTakenWhenBothGoOnBehindTheHead) {
  EXPECT_TRUE(took_turns(exchange_of({50, 150}, {120, 200})));
  EXPECT_TRUE(took_turns(exchange_of({50}, {120, 200}, 150))) << "the end is a turn too";
  EXPECT_FALSE(took_turns(exchange_of({50, 99}, {120, 200})));
  EXPECT_FALSE(took_turns(exchange_of({50, 150}, {120}))) << "refused before its end";
  EXPECT_FALSE(took_turns(exchange_of({50}, {120})));
}

store::Recording with_status(int status, store::Recording recording) {
  recording.response.status = status;
  return recording;
}

TEST(Turns, MayBeTakenWhereTheAnswerHasNoLength) {
  EXPECT_TRUE(may_have_taken_turns(exchange_of({50, 150}, {120})));
  EXPECT_TRUE(may_have_taken_turns(with_status(413, exchange_of({50, 150}, {120}))));
  EXPECT_FALSE(may_have_taken_turns(exchange_of({50, 99}, {120})));
}

TEST(Turns, MayBeTakenByAClientThatWaitedForAnAnswerOfKnownLengthUnlessItRefusesTheUpload) {
  EXPECT_TRUE(may_have_taken_turns(of_known_length(exchange_of({50, 150}, {120}))));
  EXPECT_TRUE(may_have_taken_turns(of_known_length(exchange_of({50}, {}, 150)))) << "no body, and the end is a turn";
  EXPECT_FALSE(may_have_taken_turns(of_known_length(exchange_of({50, 99}, {120}))));
  EXPECT_FALSE(may_have_taken_turns(with_status(413, of_known_length(exchange_of({50, 150}, {120})))));
  EXPECT_TRUE(may_have_taken_turns(with_status(413, of_known_length(exchange_of({50, 150}, {120, 200})))));
}

TEST(Turns, OfAnExchangeWithoutAnAnswerThereAreNone) {
  store::Recording unanswered = exchange_of({150}, {});
  unanswered.response.status = 0;
  EXPECT_FALSE(may_have_taken_turns(unanswered));
}

TEST(Turns, WhatWasSaidByAMomentIncludesIt) {
  const store::Recording recording = exchange_of({50, 150}, {120, 200}, 180);
  EXPECT_EQ(said_by(recording, 10).bytes, 0U);
  EXPECT_EQ(said_by(recording, 149).bytes, 1U);
  EXPECT_EQ(said_by(recording, 150).bytes, 2U);
  EXPECT_FALSE(said_by(recording, 150).ended);
  EXPECT_TRUE(said_by(recording, 200).ended);
}

// A session, and a client that has said "abc" of a POST /talk.
class Begun : public testing::Test {
 protected:
  Begun() : store(store::open_store(dir.path())), recorder(*store, "s"), hasher(*store->key_secret("s")) {}
  [[nodiscard]] Beginnings find() const {
    store::KeyBuilder said(hasher, "https", "api.example.com", 443, "POST", "/talk");
    said.body("abc");
    ignore(said.key(), "the parts are what it makes whole");
    return that_begin_so(*store, "s", hasher, {said.parts(), false, {}}, Answers::Complete);
  }
  // The head at 100, the answer's body until 120; what the client says behind "abc" at 200.
  void record_talk(int status, const std::string& rest, std::string_view length) {
    auto builder = recorder.begin("/talk", "abc");
    http::ResponseHead head = store::Recorder::ok();
    head.status = status;
    if (!length.empty()) head.headers.add("Content-Length", length);
    builder.response(head);
    builder.provenance().timings.first_byte = 100;
    builder.body(store::BodySide::Response, "hello", 120);
    builder.body(store::BodySide::Request, rest, 200);
    builder.finish({});
    std::vector<store::PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(store->write(writes, store::Durability::Wal));
  }
  TestDirectory dir;
  std::unique_ptr<store::ExchangeStore> store;
  store::Recorder recorder;
  store::KeyHasher hasher;
};

TEST_F(Begun, AnAnswerOfKnownLengthThatCameAsAWholeIsOneInTurnsUnlessItRefuses) {
  record_talk(200, "def", "5");
  EXPECT_EQ(find().in_turns.size(), 1U);
  EXPECT_FALSE(find().others);
  record_talk(413, "xyz", "5");
  EXPECT_EQ(find().in_turns.size(), 1U);
  EXPECT_TRUE(find().others) << "for whom sends all of it";
}

TEST_F(Begun, OtherRequestsAreNotHowItGoesOnHoweverManyThereAre) {
  for (int i = 0; i < 70; ++i) ignore(recorder.record("/other/" + std::to_string(i), "x", "abcdef"), "not asked for");
  EXPECT_FALSE(find().others);
  for (int i = 0; i < 70; ++i) ignore(recorder.record("/talk?" + std::to_string(i), "x", "abcdef"), "not asked for");
  EXPECT_FALSE(find().others);
}

TEST_F(Begun, OneAmongMoreBodiesThanAreLookedAtMayBeHowItGoesOn) {
  for (int i = 0; i < 63; ++i) ignore(recorder.record("/talk", "x", std::to_string(i)), "not asked for");
  EXPECT_FALSE(find().others);
  ignore(recorder.record("/talk", "x", "another"), "not asked for");
  EXPECT_TRUE(find().others);
}

TEST_F(Begun, ALongBodyIsLookedAtAsWellAsOlderOnesOfTheSizeThatHasCome) {
  for (int i = 100; i < 200; ++i) ignore(recorder.record("/talk", "x", std::to_string(i)), "not asked for");
  record_talk(200, std::string(5000, 'd'), {});
  EXPECT_EQ(find().in_turns.size(), 1U);
}

}  // namespace
}  // namespace tapdeck::modes
