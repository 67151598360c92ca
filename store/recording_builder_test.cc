#include "store/recording_builder.h"

#include <gmock/gmock.h>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

using ::testing::ElementsAre;

TEST(RecordingBuilder, PiecesOfAMillisecondJoinUnlessTheOtherSideSpokeBetweenThem) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto builder = recorder.begin("/talk");
  builder.body(BodySide::Request, "a", 100);
  builder.body(BodySide::Request, "b", 200);
  builder.response(Recorder::ok());
  builder.body(BodySide::Request, "c", 300);
  builder.body(BodySide::Response, "A", 400);
  builder.body(BodySide::Response, "B", 500);
  builder.body(BodySide::Request, "d", 600);
  builder.body(BodySide::Response, "C", 700);
  const auto moments = [](const BodyRef& body) {
    std::vector<uint64_t> out;
    for (const Chunk& piece : body.timeline) out.push_back(piece.microseconds);
    return out;
  };
  EXPECT_THAT(moments(builder.recording().request_body), ElementsAre(100, 300, 600));
  EXPECT_THAT(moments(builder.recording().response_body), ElementsAre(400, 700));
}

}  // namespace
}  // namespace tapdeck::store
