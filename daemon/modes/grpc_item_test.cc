#include "daemon/modes/grpc_item.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

GrpcItem item_of(int status, const std::string& body) {
  GrpcItem item;
  item.recording.response.status = status;
  item.recording.response_body.size = body.size();
  item.body = body;
  return item;
}

GrpcSaid said(bool head, uint64_t bytes) {
  GrpcSaid out;
  out.head_sent = head;
  out.bytes_sent = bytes;
  return out;
}

TEST(GrpcItem, AnotherRecordingMayGoOnWhereBothHaveSaidTheSame) {
  const GrpcItem first = item_of(200, "welcome, a");
  EXPECT_TRUE(sent_same(first, item_of(200, "welcome, b"), said(true, 9)));
  EXPECT_FALSE(sent_same(first, item_of(200, "welcome, b"), said(true, 10)));
  EXPECT_FALSE(sent_same(first, item_of(200, "welcome"), said(true, 9))) << "shorter than what was sent";
  EXPECT_FALSE(sent_same(first, item_of(502, "welcome, b"), said(true, 0)));
  EXPECT_TRUE(sent_same(first, item_of(502, "other"), said(false, 0))) << "nothing was sent yet";
  EXPECT_TRUE(sent_same(first, item_of(0, ""), said(true, 0))) << "its client left before any head";
}

TEST(GrpcItem, ABodyTooLongForMemoryCannotBeCompared) {
  const GrpcItem first = item_of(200, "welcome");
  GrpcItem long_one = item_of(200, "");
  long_one.recording.response_body.size = 1 << 30;
  EXPECT_FALSE(sent_same(first, long_one, said(true, 1)));
  EXPECT_TRUE(sent_same(first, long_one, said(true, 0)));
}

TEST(GrpcItem, TrailersOnlyIsAHeadAndNothingElse) {
  store::Recording recording;
  EXPECT_TRUE(is_head_only(recording));
  recording.response_trailers.add("grpc-status", "0");
  EXPECT_FALSE(is_head_only(recording));
  recording = {};
  recording.response_body.size = 5;
  EXPECT_FALSE(is_head_only(recording));
  recording = {};
  recording.outcome.kind = store::Outcome::Kind::Reset;
  EXPECT_FALSE(is_head_only(recording));
}

TEST(GrpcItem, OfSuchAHeadOnlyTheStatusBelongsInTrailers) {
  http::Headers head;
  head.add("content-type", "application/grpc");
  head.add("grpc-status", "5");
  head.add("grpc-message", "gone");
  const http::Headers trailers = status_fields(head);
  ASSERT_EQ(trailers.size(), 2U);
  EXPECT_EQ(trailers.find("grpc-status"), "5");
  EXPECT_EQ(trailers.find("grpc-message"), "gone");
}

TEST(GrpcItem, SilenceIsWhereNobodySaidAnything) {
  GrpcItem item = item_of(0, "");
  item.script.steps = {{}};
  item.recording.outcome.kind = store::Outcome::Kind::Incomplete;
  EXPECT_TRUE(was_left_in_silence(item));
  item.script.steps = {{GrpcStep::Kind::ClientMessage}, {}};
  EXPECT_FALSE(was_left_in_silence(item));
  item.script.steps = {{}};
  item.recording.outcome.kind = store::Outcome::Kind::Complete;
  EXPECT_FALSE(was_left_in_silence(item));
}

TEST(GrpcItem, AClientThatEndedItsHalfDidNotLeaveSpeaking) {
  GrpcItem item;
  item.script.steps = {{GrpcStep::Kind::Head}, {}};
  item.recording.outcome.kind = store::Outcome::Kind::Incomplete;
  EXPECT_TRUE(was_left_speaking(item));
  item.script.steps = {{GrpcStep::Kind::ClientEnd}, {}};
  EXPECT_FALSE(was_left_speaking(item));
  item.script.steps = {{GrpcStep::Kind::Head}, {}};
  item.recording.outcome.kind = store::Outcome::Kind::Complete;
  EXPECT_FALSE(was_left_speaking(item));
}

}  // namespace
}  // namespace tapdeck::modes
