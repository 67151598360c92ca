#include "daemon/modes/turns.h"

#include <gtest/gtest.h>

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

TEST(Turns, MayBeTakenWhereTheAnswerHasNoLength) {
  EXPECT_TRUE(may_have_taken_turns(exchange_of({50, 150}, {120})));
  EXPECT_FALSE(may_have_taken_turns(of_known_length(exchange_of({50, 150}, {120}))));
  EXPECT_TRUE(may_have_taken_turns(of_known_length(exchange_of({50, 150}, {120, 200}))));
  EXPECT_FALSE(may_have_taken_turns(exchange_of({50, 99}, {120})));
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

}  // namespace
}  // namespace tapdeck::modes
