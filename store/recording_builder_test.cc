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

TEST(SpareWrites, GiveMemoryBackAndNothingElse) {
  SpareWrites spares;
  std::vector<PendingWrite> written(1);
  PendingWrite& write = written.front();
  write.id = 7;
  write.part = 3;
  write.was_begun = true;
  write.encoded = std::string(1000, 'e');
  write.references.resize(2);
  write.host = std::string(100, 'h');
  write.origin = {"h2", "TLSv1.3", "expired", std::string(64, 'a'), true};
  write.alpn = AlpnChoice{"h2", "h2", true};
  const char* const memory = write.encoded.data();
  spares.give_back(written);
  EXPECT_TRUE(written.empty());
  const PendingWrite again = spares.take();
  EXPECT_EQ(again.encoded.data(), memory);
  EXPECT_GE(again.host.capacity(), 100U);
  EXPECT_TRUE(again.encoded.empty() && again.host.empty() && again.references.empty() && again.blobs.empty());
  EXPECT_EQ(again.origin, OriginFacts{});
  EXPECT_FALSE(again.alpn);
  EXPECT_TRUE(again.id == 0 && again.part == 0 && !again.was_begun);
}

}  // namespace
}  // namespace tapdeck::store
