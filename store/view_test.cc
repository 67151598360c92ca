// Bodies that are deleted while somebody reads them.
#include <atomic>
#include <filesystem>
#include <thread>

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

TEST(View, ARecordingThatIsDeletedIsThereThroughIt) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const uint64_t id = recorder.record("/x", "held");
  auto view = store->hold();
  ASSERT_TRUE(store->delete_recording(id));
  const uint64_t later = recorder.record("/y", "later");
  const auto held = store->get(id, view.get());
  ASSERT_TRUE(held) << held.error().message();
  EXPECT_EQ(store->read_body(held->response_body, 100, view.get()).value_or("lost"), "held");
  EXPECT_EQ(store->get(id).error().code, Code::NotFound);
  EXPECT_EQ(store->get("s", later, view.get()).error().code, Code::NotFound) << "it came after";
}

TEST(View, AnExportIsOfOneMomentWhateverRetentionRemoves) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path() + "/store";
  options.max_recordings = 40;
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  uint64_t salt = 0;
  const auto record = [&] { recorder.record("/" + std::to_string(salt), body_of(salt, 100'000)), ++salt; };
  for (int i = 0; i < 40; ++i) record();
  std::atomic<bool> over = false;
  std::thread pruner([&] {
    while (!over) {
      record();
      EXPECT_TRUE(store->prune(0));
    }
  });
  for (int i = 0; i < 20; ++i) {
    const std::string file = dir.path() + "/" + std::to_string(i) + ".tapdeck";
    const auto done = store->export_session("s", file);
    EXPECT_TRUE(done) << done.error().message();
    EXPECT_TRUE(open_store(dir.path() + "/other")->import_session(file, std::to_string(i)));
    std::filesystem::remove(file);
  }
  over = true;
  pruner.join();
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
