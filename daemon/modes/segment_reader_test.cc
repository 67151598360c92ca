#include "daemon/modes/segment_reader.h"

#include <gtest/gtest.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include "store/test_support.h"

namespace tapdeck::modes {
namespace {

struct ReaderRig {
  ReaderRig() {
    for (uint64_t i = 0; i < 6; ++i) body += store::body_of(i, 256 << 10);
    id = store::Recorder(*store, "s").record("/long", body);
    stored = store->get(id)->response_body;
  }
  // Reads all of it; `between` is called after the first segment.
  Result<std::string> read(SegmentReader& reader, const std::function<void()>& between) {
    Result<std::string> out;
    asio::io_context io{1};
    auto run = [&]() -> net::Task<> {
      for (const store::Segment& segment : stored.segments) {
        auto bytes = co_await reader.read(segment);
        if (!bytes) {
          out = std::unexpected(bytes.error());
          co_return;
        }
        if (out->empty()) between();
        *out += *bytes;
      }
    };
    asio::co_spawn(io, run(), asio::detached);
    io.run();
    return out;
  }
  void begin(SegmentReader& reader) {
    asio::io_context io{1};
    auto run = [&]() -> net::Task<> { co_await reader.begin(); };
    asio::co_spawn(io, run(), asio::detached);
    io.run();
  }

  TestDirectory directory;
  std::unique_ptr<store::ExchangeStore> store = store::open_store(directory.path());
  std::string body;
  uint64_t id = 0;
  store::BodyRef stored;
  net::ThreadPool readers{1};
};

TEST(SegmentReader, WhatIsDeletedWhileItIsSentIsReadToItsEnd) {
  ReaderRig rig;
  {
    SegmentReader reader(*rig.store, rig.readers);
    const auto read = rig.read(reader, [&] { EXPECT_TRUE(rig.store->delete_recording(rig.id)); });
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_TRUE(*read == rig.body);
  }
  SegmentReader late(*rig.store, rig.readers);
  EXPECT_EQ(rig.read(late, [] {}).error().code, Code::Corrupt);
}

TEST(SegmentReader, WhatWasThereWhenItBeganIsRead) {
  ReaderRig rig;
  SegmentReader reader(*rig.store, rig.readers);
  rig.begin(reader);
  ASSERT_TRUE(rig.store->delete_recording(rig.id));
  const auto read = rig.read(reader, [] {});
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_TRUE(*read == rig.body);
}

TEST(SegmentReader, AfterForgettingItReadsWhatCameSince) {
  ReaderRig rig;
  SegmentReader reader(*rig.store, rig.readers);
  rig.begin(reader);
  ASSERT_TRUE(rig.store->delete_recording(rig.id));
  reader.forget();
  EXPECT_EQ(rig.read(reader, [] {}).error().code, Code::Corrupt);
}

}  // namespace
}  // namespace tapdeck::modes
