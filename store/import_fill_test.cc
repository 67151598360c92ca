// Imports of files that no export wrote: bodies longer than a batch, bodies of nobody, names that are none.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>

#include "store/export_file.h"
#include "store/import_fill.h"
#include "store/record_codec.h"
#include "store/store_impl.h"
#include "store/test_support.h"
#include "store/transfer.h"

namespace tapdeck::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kLongSegment = 3 << 20;

// A file made frame by frame.
class ImportTest : public ::testing::Test {
 protected:
  void begin(std::string_view name = "made") {
    auto writer = ExportWriter::create(file_);
    ASSERT_TRUE(writer) << writer.error().message();
    writer_ = std::make_unique<ExportWriter>(std::move(*writer));
    std::string head;
    ByteWriter out(head);
    out.string(name);
    out.varint(1);
    out.u64(1);
    out.bytes(Secret{9});
    put(Frame::Session, head);
  }
  void put(Frame type, std::string_view payload) { ASSERT_TRUE(writer_->frame(type, payload)); }
  Segment blob(const std::string& bytes) {
    const Digest digest = content_digest(bytes);
    put(Frame::Blob, std::string(view(digest)) + bytes);
    return {digest, bytes.size()};
  }
  void recording(const std::vector<Segment>& segments) {
    Recording made;
    made.take = 1;
    made.host = "api.example.com";
    made.response_body.segments = segments;
    for (const Segment& segment : segments) made.response_body.size += segment.size;
    std::string encoded;
    encode_record(made, encoded);
    put(Frame::Recording, encoded);
    ++recordings_;
  }
  Result<ImportResult> import(ExchangeStore& store) {
    std::string end;
    ByteWriter(end).varint(recordings_);
    put(Frame::End, end);
    EXPECT_TRUE(writer_->finish());
    return store.import_session(file_, {});
  }
  static uint32_t hidden_session(ExchangeStore& store) {
    auto& inside = const_cast<ExchangeStore::Impl&>(ExchangeStore::Impl::of(store));
    const std::lock_guard guard(inside.write_mutex);
    return inside.create_locked("hidden", Visibility::Hidden, Secret{9}).value();
  }
  static Segment add_long(ImportFill& fill, uint64_t salt) {
    const std::string body = body_of(salt, kLongSegment);
    const Segment segment{content_digest(body), body.size()};
    EXPECT_TRUE(fill.add({.segment = segment, .bytes = std::make_shared<const std::string>(body)}));
    return segment;
  }
  static size_t rows_of(ExchangeStore& store, Family family) {
    const auto& inside = ExchangeStore::Impl::of(store);
    size_t rows = 0;
    const auto all = inside.iterate(family);
    for (all->SeekToFirst(); all->Valid(); all->Next()) rows += all->key() == slice(kAnchor) ? 0 : 1;
    return rows;
  }

  TestDirectory dir_;
  std::string file_ = dir_.path() + "/made.tapdeck";
  std::string path_ = dir_.path() + "/store";
  std::unique_ptr<ExportWriter> writer_;
  uint64_t recordings_ = 0;
};

TEST_F(ImportTest, ABodyLongerThanABatchIsWrittenAsItComesAndIsWhole) {
  begin();
  std::vector<Segment> segments;
  std::string whole;
  for (uint64_t i = 0; i < 7; ++i) {
    whole += body_of(i, kLongSegment);
    segments.push_back(blob(body_of(i, kLongSegment)));
  }
  recording(segments);
  recording({segments[2]});
  auto store = open_store(path_);
  const auto imported = import(*store);
  ASSERT_TRUE(imported) << imported.error().message();
  const auto page = store->list_recordings({});
  ASSERT_EQ(page->items.size(), 2U);
  EXPECT_TRUE(*store->read_body(page->items[0].response_body) == whole);
  EXPECT_EQ(store->read_body(page->items[1].response_body)->size(), kLongSegment);
  EXPECT_EQ(rows_of(*store, Family::Partial), 0U);
  ASSERT_TRUE(store->delete_session("made"));
  EXPECT_EQ(rows_of(*store, Family::Blobs), 0U);
  EXPECT_EQ(rows_of(*store, Family::BlobRefs), 0U);
}

TEST_F(ImportTest, BodiesThatTheNextRecordingDoesNotUseAreRefused) {
  auto store = open_store(path_);
  for (const bool at_the_end : {true, false}) {
    std::filesystem::remove(file_);
    recordings_ = 0;
    begin();
    const Segment used = blob("used");
    if (at_the_end) recording({used});
    blob("nobody's");
    if (!at_the_end) recording({used});
    const auto imported = import(*store);
    ASSERT_FALSE(imported);
    EXPECT_EQ(imported.error().code, Code::Corrupt);
    EXPECT_THAT(imported.error().detail, HasSubstr("is damaged: a body of no recording"));
  }
  EXPECT_EQ(rows_of(*store, Family::Blobs), 0U);
  EXPECT_TRUE(store->list_sessions()->empty());
}

// What a file that changed between the two readings, or a full disk, leaves of an import.
TEST_F(ImportTest, WhatWasWrittenAheadOfARecordingThatDoesNotComeIsTakenBack) {
  auto store = open_store(path_);
  for (const bool crash : {false, true}) {
    ImportFill ahead(*store, hidden_session(*store));
    for (uint64_t i = 0; i < 4; ++i) add_long(ahead, i);
    EXPECT_EQ(rows_of(*store, Family::Blobs), 3U) << "those of the first batch";
    if (crash) {
      store.reset();
      store = open_store(path_);
    } else {
      ahead.give_up();
    }
    EXPECT_EQ(rows_of(*store, Family::Blobs), 0U) << crash;
    EXPECT_EQ(rows_of(*store, Family::BlobRefs), 0U) << crash;
    EXPECT_EQ(rows_of(*store, Family::Partial), 0U) << crash;
  }
}

TEST_F(ImportTest, WhatWasWrittenAheadOfARecordingWhoseEndWasRefusedIsTakenBack) {
  auto store = open_store(path_);
  ImportFill fill(*store, hidden_session(*store));
  Recording recording;
  for (uint64_t i = 0; i < 3; ++i) recording.response_body.segments.push_back(add_long(fill, i));
  ASSERT_EQ(rows_of(*store, Family::Blobs), 3U);
  PendingWrite end = finish_of(recording, 0, 0);
  encode_record(recording, end.encoded);
  ASSERT_TRUE(fill.add(std::move(end)));
  add_long(fill, 3);  // of the next one, begun by the same write
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit nothing{1, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &nothing), 0);
  EXPECT_FALSE(fill.flush());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  fill.give_up();
  EXPECT_EQ(rows_of(*store, Family::Blobs), 0U);
  EXPECT_EQ(rows_of(*store, Family::BlobRefs), 0U);
  EXPECT_EQ(rows_of(*store, Family::Partial), 0U);
}

TEST_F(ImportTest, ANameThatNoSessionCanHaveIsNotRepeated) {
  begin("\x1b]0;owned\x07\nroot# ");
  auto store = open_store(path_);
  const auto imported = import(*store);
  ASSERT_FALSE(imported);
  EXPECT_EQ(imported.error().code, Code::Corrupt);
  EXPECT_THAT(imported.error().message(), Not(HasSubstr("owned")));
  EXPECT_TRUE(store->import_session(file_, "fine"));
}

TEST_F(ImportTest, AnExportIntoAnOpenFileIsTheSameFile) {
  auto store = open_store(path_);
  Recorder recorder(*store, "s");
  ignore(recorder.record("/x", std::string(600'000, 'L')), "to have something to export");
  const std::string open_file = dir_.path() + "/open";
  ASSERT_TRUE(
      export_session_to(*store, "s", UniqueFd(::open(open_file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600))));
  ASSERT_TRUE(store->export_session("s", file_));
  EXPECT_EQ(std::filesystem::file_size(open_file), std::filesystem::file_size(file_));
  EXPECT_TRUE(store->import_session(open_file, "t"));
  EXPECT_EQ(export_session_to(*store, "z", UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC))).error().code,
            Code::NotFound);
}

}  // namespace
}  // namespace tapdeck::store
