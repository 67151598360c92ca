// Recordings whose client was told that they failed: not written if that can be helped, else removed, by the next
// process if need be (crash_test.cc kills one where it matters).
#include "store/withdrawals.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <latch>

#include "daemon/base/eventually.h"
#include "store/byte_codec.h"
#include "store/test_small_disk.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> targets_in(const ExchangeStore& store) {
  std::vector<std::string> targets;
  for (const Recording& recording : store.list_recordings({})->items) targets.push_back(recording.request.target);
  return targets;
}

TEST(Withdrawals, AreThereForTheNextProcessUntilAllAreSettled) {
  const TestDirectory dir;
  {
    Withdrawals noted(dir.path());
    noted.note(7);
    noted.note(1ULL << 40);
  }
  EXPECT_THAT(Withdrawals::left(dir.path()), ElementsAre(7, 1ULL << 40));
  std::ofstream(dir.path() + "/withdrawn", std::ios::app) << "half";
  EXPECT_THAT(Withdrawals::left(dir.path()), ElementsAre(7, 1ULL << 40)) << "what a killed process began to say";
  {
    Withdrawals noted(dir.path());
    noted.note(9);
    noted.settle();
  }
  EXPECT_THAT(Withdrawals::left(dir.path()), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(dir.path() + "/withdrawn"));
}

TEST(Withdrawals, OneThatWaitsToBeWrittenNeverIs) {
  const TestDirectory dir;
  const auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const auto writer = *StoreWriter::start(*store);
  {
    const HeldWriter held(*writer, recorder);
    auto kept = recorder.whole("/kept", "x");
    auto withdrawn = recorder.whole("/withdrawn", body_of(1, 3000));
    const uint64_t id = withdrawn.back().id;
    ASSERT_TRUE(writer->submit(withdrawn, nullptr, 1));
    ASSERT_TRUE(writer->submit(kept, nullptr, 2));
    writer->withdraw(id);
    EXPECT_TRUE(eventually([&] { return Withdrawals::left(dir.path()) == std::vector{id}; }));
  }
  EXPECT_THAT(targets_in(*store), ElementsAre("/held", "/kept"));
  EXPECT_EQ(writer->stats().recordings, 2U);
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(dir.path() + "/withdrawn"); }));
}

TEST(Withdrawals, OneThatWasWrittenIsRemovedWithItsBody) {
  const TestDirectory dir;
  const auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const auto writer = *StoreWriter::start(*store);
  auto builder = recorder.begin("/long");
  builder.response(Recorder::ok());
  builder.body(BodySide::Response, body_of(1, 2 * kSegmentBytes + 1000), 0);
  builder.finish({});
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  ASSERT_TRUE(writer->submit(writes, nullptr, 1));
  writer->flush();
  ASSERT_THAT(targets_in(*store), ElementsAre("/long"));
  const uint64_t before = store->generation();
  writer->withdraw(builder.id());
  writer->flush();
  EXPECT_THAT(targets_in(*store), IsEmpty());
  EXPECT_EQ(store->stored_bytes(), 0U);
  EXPECT_GT(store->generation(), before) << "what was looked up of it is forgotten";
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(dir.path() + "/withdrawn"); }));
}

TEST(Withdrawals, OneThatBeganEarlierLeavesNoPrefix) {
  const TestDirectory dir;
  {
    const auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    const auto writer = *StoreWriter::start(*store);
    auto builder = recorder.begin("/long");
    builder.response(Recorder::ok());
    builder.body(BodySide::Response, body_of(1, 2 * kSegmentBytes), 0);
    std::vector<PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(writer->submit(writes, nullptr, 1));
    writer->flush();
    const HeldWriter held(*writer, recorder);
    builder.finish({});
    builder.take_writes(writes);
    ASSERT_TRUE(writer->submit(writes, nullptr, 2));
    writer->withdraw(builder.id());
  }
  const auto store = open_store(dir.path());
  EXPECT_THAT(targets_in(*store), ElementsAre("/held"));
}

TEST(Withdrawals, OneThatTheStoreNeverSawIsNoError) {
  const TestDirectory dir;
  const auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const uint64_t id = recorder.record("/kept", "x");
  const auto writer = *StoreWriter::start(*store);
  writer->withdraw(id + 100);
  writer->flush();
  EXPECT_THAT(targets_in(*store), ElementsAre("/kept"));
}

// Whether one hand-over was written.
class Written final : public Completion {
 public:
  [[nodiscard]] bool wait() {
    is_there_.wait();
    return is_written_;
  }

 private:
  void written(uint64_t /*token*/, const Result<void>& result) override {
    is_written_ = result.has_value();
    is_there_.count_down();
  }
  std::latch is_there_{1};
  bool is_written_ = false;
};

TEST(Withdrawals, OneWhoseWriteFailedTakesNothingOfWhatIsSetAsideForRemoving) {
  SmallDisk disk(128);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  const auto store = open_store(disk.store());
  Recorder recorder(*store, "s");
  ignore(recorder.record("/kept", "x"), "it is the session");
  const auto writer = *StoreWriter::start(*store);
  disk.fill();
  uint64_t failed = 0;
  for (uint64_t i = 0; i < 2000 && failed == 0; ++i) {
    auto writes = recorder.whole("/" + std::to_string(i), body_of(i, 100'000));
    const uint64_t id = writes.back().id;
    Written written;
    ASSERT_TRUE(writer->submit(writes, &written, 0));
    if (!written.wait()) failed = id;
  }
  ASSERT_NE(failed, 0U);
  writer->withdraw(failed);
  writer->flush();
  EXPECT_TRUE(std::filesystem::exists(disk.store() + "/reserve"));
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(disk.store() + "/withdrawn"); }));
  disk.fill();
  EXPECT_TRUE(store->delete_session("s"));
}

// A process that was killed had these withdrawn; the next one finds a full disk and nothing set aside.
void leave_withdrawn(SmallDisk& disk, std::initializer_list<uint64_t> recordings) {
  std::string bytes;
  for (const uint64_t recording : recordings) ByteWriter(bytes).u64(recording);
  std::ofstream(disk.store() + "/withdrawn") << bytes;
  std::filesystem::remove(disk.store() + "/reserve");
  disk.fill();
}

TEST(Withdrawals, NobodyElseIsGivenTheIdOfOneThatWasNeverWritten) {
  SmallDisk disk(64);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  const uint64_t first = Recorder(*open_store(disk.store()), "s").record("/first", "x");
  leave_withdrawn(disk, {first + 1});
  {
    const auto store = open_store(disk.store());
    disk.relieve();
    EXPECT_GT(Recorder(*store, "s").record("/innocent", "y"), first + 1);
  }
  EXPECT_THAT(targets_in(*open_store(disk.store())), ElementsAre("/first", "/innocent"));
}

TEST(Withdrawals, ThoseLeftOnAFullDiskAreTakenBackOnceItIsNot) {
  SmallDisk disk(64);
  if (!disk) GTEST_SKIP() << "cannot mount a tmpfs";
  uint64_t written = 0, begun = 0;
  {
    const auto store = open_store(disk.store());
    Recorder recorder(*store, "s");
    ignore(recorder.record("/kept", "x"), "it stays");
    written = recorder.record("/written", "x");
    auto builder = recorder.begin("/begun");
    builder.response(Recorder::ok());
    builder.body(BodySide::Response, body_of(1, 2 * kSegmentBytes), 0);
    builder.checkpoint();
    std::vector<PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(store->write(writes, Durability::Wal));
    begun = builder.id();
  }
  leave_withdrawn(disk, {written, begun});
  const std::string note = disk.store() + "/withdrawn";
  {
    const auto store = open_store(disk.store());
    const auto writer = *StoreWriter::start(*store);
    writer->flush();
    EXPECT_TRUE(std::filesystem::exists(note));
    writer->withdraw(begun + 1);  // which there is nothing of
    writer->flush();
    EXPECT_TRUE(std::filesystem::exists(note)) << "of the others there is";
    disk.relieve();
    EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(note); }));
    EXPECT_THAT(targets_in(*store), ElementsAre("/kept"));
    EXPECT_LT(store->stored_bytes(), kSegmentBytes);
  }
  EXPECT_THAT(targets_in(*open_store(disk.store())), ElementsAre("/kept"));
}

}  // namespace
}  // namespace tapdeck::store
