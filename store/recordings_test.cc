#include <gtest/gtest.h>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

http::Headers field(const std::string& name, const std::string& value) {
  http::Headers fields;
  fields.add(name, value);
  return fields;
}

TEST(Recordings, ATextIsLookedForInEverythingThatHasFields) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  recorder.record("/plain", "body");
  auto builder = recorder.begin("/all");
  builder.trailers(BodySide::Request, field("X-Sent", "one"));
  http::ResponseHead hints;
  hints.status = 103;
  hints.headers = field("Link", "</style.css>; rel=preload");
  builder.informational(hints);
  http::ResponseHead head = Recorder::ok();
  head.headers = field("X-Head", "two");
  builder.response(head);
  builder.trailers(BodySide::Response, field("X-Checksum", "three"));
  builder.finish({});
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  ASSERT_TRUE(store->write(writes, Durability::Wal));
  for (const char* text : {"x-sent: ONE", "style.css", "x-head", "X-Checksum: three"}) {
    RecordingFilter filter;
    filter.text = text;
    const auto page = store->list_recordings(filter);
    ASSERT_EQ(page->items.size(), 1U) << text;
    EXPECT_EQ(page->items[0].request.target, "/all");
  }
  RecordingFilter filter;
  filter.text = "four";
  EXPECT_TRUE(store->list_recordings(filter)->items.empty());
}

}  // namespace
}  // namespace tapdeck::store
