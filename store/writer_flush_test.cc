// What StoreWriter::flush() waits for.
#include <gtest/gtest.h>

#include <atomic>

#include "store/store_writer.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

// Hands over the next recording when the last one was written, as a busy worker does: the writer is never idle.
class Busy final : public Completion {
 public:
  Busy(StoreWriter& writer, ExchangeStore& store) : writer_(writer), recorder_(store, "busy") {}
  void submit() {
    auto writes = recorder_.whole("/" + std::to_string(count), body_of(count, 100));
    ASSERT_TRUE(writer_.submit(writes, this, count));
    ++count;
  }
  void written(uint64_t, const Result<void>&) override {
    if (count < kEnough) submit();
  }
  static constexpr uint64_t kEnough = 20000;
  std::atomic<uint64_t> count{0};

 private:
  StoreWriter& writer_;
  Recorder recorder_;
};

TEST(StoreWriterFlush, WaitsForWhatWasSubmittedBeforeAndNotForWhatFollows) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto writer = *StoreWriter::start(*store);
  Busy busy(*writer, *store);
  busy.submit();
  auto writes = recorder.whole("/mine", body_of(1, 100));
  const uint64_t id = writes.back().id;
  ASSERT_TRUE(writer->submit(writes, nullptr, 0));
  writer->flush();
  EXPECT_LT(busy.count, Busy::kEnough) << "others go on submitting";
  EXPECT_TRUE(store->get("s", id));
  writer.reset();
}

TEST(StoreWriterFlush, WaitsForTheAnswerToo) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto writer = *StoreWriter::start(*store);
  struct Answers final : Completion {
    void written(uint64_t token, const Result<void>&) override { last = token; }
    std::atomic<uint64_t> last{0};
  } answers;
  for (uint64_t i = 1; i <= 200; ++i) {
    auto writes = recorder.whole("/" + std::to_string(i), body_of(i, 100));
    ASSERT_TRUE(writer->submit(writes, &answers, i));
    writer->flush();
    EXPECT_EQ(answers.last, i);
  }
}

}  // namespace
}  // namespace tapdeck::store
