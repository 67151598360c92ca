// Bodies that are deleted while somebody reads them.
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

TEST(View, ABodyIsReadToItsEndWhateverIsDeletedMeanwhile) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  std::string body;
  for (uint64_t i = 0; i < 8; ++i) body += body_of(i, 256 << 10);
  const uint64_t id = recorder.record("/long", body);
  const BodyRef stored = store->get(id)->response_body;
  ASSERT_GT(stored.segments.size(), 1U);
  auto view = store->hold();
  ASSERT_NE(view, nullptr);
  std::string read;
  const auto done = store->read_body(
      stored,
      [&](std::string_view bytes) {
        if (read.empty()) EXPECT_TRUE(store->delete_recording(id));
        read += bytes;
        return true;
      },
      view.get());
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_TRUE(read == body);
  EXPECT_EQ(store->read_body(stored).error().code, Code::Corrupt) << "without a view it is gone";
  view.reset();
  EXPECT_EQ(store->stored_recordings(), 0U);
}

TEST(View, AReaderOfAnotherProcessesStoreNeedsNone) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  ignore(Recorder(*store, "s").record("/x", "x"), "");
  const auto reader = open_store(dir.path(), Access::ReadOnly);
  EXPECT_EQ(reader->hold(), nullptr);
}

}  // namespace
}  // namespace tapdeck::store
