#include "daemon/modes/recording_exchange.h"

#include <gmock/gmock.h>
#include <asio/io_context.hpp>

#include "daemon/exchange/fake_exchange.h"
#include "daemon/modes/question.h"
#include "store/test_support.h"

namespace tapdeck::modes {
namespace {

using exchange::FakeExchange;
using namespace std::chrono_literals;
using ::testing::ElementsAre;

// One exchange of a worker that dies when this is destroyed.
struct Rig {
  explicit Rig(const std::string& directory, const std::string& request_body = {})
      : store(store::open_store(directory)),
        writer(*store::StoreWriter::start(*store)),
        metrics(registry.create()),
        link(io.get_executor(), *writer, metrics, {.beat = 5ms}),
        recorder(*store, "default"),
        hasher(*store->key_secret("default")),
        builder(recorder.begin("/events", request_body)),
        body_key(nullptr, inner.head, hasher, metrics),
        recording(inner, builder, body_key, link) {}
  ~Rig() {
    link.close();
    io.restart();
    io.poll();
  }
  // Goes on until the store has that much of the response.
  void run_until_saved(uint64_t bytes) {
    const auto limit = std::chrono::steady_clock::now() + 10s;
    while (!builder.is_saved(0, bytes) && std::chrono::steady_clock::now() < limit) io.run_one_for(100ms);
    EXPECT_TRUE(builder.is_saved(0, bytes));
  }
  void answer(std::string_view piece) {
    const auto written = recording.write_now({piece, std::nullopt, false});
    EXPECT_TRUE(written);
  }

  std::unique_ptr<store::ExchangeStore> store;
  std::unique_ptr<store::StoreWriter> writer;
  asio::io_context io{1};
  MetricsRegistry registry;
  Metrics& metrics;
  StoreLink link;
  FakeExchange inner;
  store::Recorder recorder;
  store::KeyHasher hasher;
  store::RecordingBuilder builder;
  store::Redactor redactor{{}, store->redaction_secret()};
  BodyKey body_key;
  RecordingExchange recording;
};

http::ResponseHead stream_head() {
  http::ResponseHead head;
  head.status = 200;
  head.headers.add("Content-Type", "text/event-stream");
  return head;
}

std::string left_in(const std::string& directory) {
  const auto store = store::open_store(directory);
  const auto page = store->list_recordings({});
  if (!page || page->items.size() != 1) return "no recording";
  const store::Recording& recording = page->items[0];
  return std::string(to_string(recording.outcome.kind)) + " " + std::to_string(recording.response.status) + " " +
         *store->read_body(recording.response_body);
}

TEST(RecordingExchange, AResponseThatLastsLeavesWhatTheClientHasSeen) {
  const TestDirectory directory;
  {
    Rig rig(directory.path());
    ASSERT_TRUE(rig.recording.respond(stream_head(), http::EndStream::No));
    rig.run_until_saved(0);  // the head alone
    rig.answer("data: 1\n\n");
    rig.run_until_saved(9);
    rig.answer("data: 2\n\n");
    rig.run_until_saved(18);
  }
  EXPECT_EQ(left_in(directory.path()), "incomplete 200 data: 1\n\ndata: 2\n\n");
}

TEST(RecordingExchange, AShortOneCostsNothingMore) {
  const TestDirectory directory;
  Rig rig(directory.path());
  ASSERT_TRUE(rig.recording.respond(stream_head(), http::EndStream::No));
  rig.answer("all");
  ASSERT_TRUE(rig.recording.end({}));
  rig.builder.finish({});
  std::vector<store::PendingWrite> writes;
  rig.builder.take_writes(writes);
  ASSERT_EQ(writes.size(), 1U);
  EXPECT_FALSE(writes[0].was_begun);
}

TEST(RecordingExchange, WhatIsSavedIsNotSavedAgain) {
  struct Beats final : StoreLink::Watched {
    int count = 0;
    void on_beat() override { ++count; }
  };
  const TestDirectory directory;
  Rig rig(directory.path());
  Beats beats;
  rig.link.watch(beats);
  ASSERT_TRUE(rig.recording.respond(stream_head(), http::EndStream::No));
  rig.answer(std::string(store::kSegmentBytes, 'x'));  // a segment, with nothing left over
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (beats.count < 20 && std::chrono::steady_clock::now() < limit) rig.io.run_one_for(100ms);
  rig.writer->flush();
  EXPECT_EQ(rig.writer->stats().batches, 1U);
}

TEST(RecordingExchange, HowMuchTheClientTakesNowIsWhatItsConnectionSays) {
  const TestDirectory directory;
  Rig rig(directory.path());
  rig.inner.writable = 100;
  rig.inner.flushes_now = true;
  EXPECT_EQ(rig.recording.writable_now(), 100U);
  EXPECT_TRUE(*rig.recording.try_flush());
}

TEST(RecordingExchange, AnAnswerToHalfARequestIsFoundAsAnEarlyOne) {
  const TestDirectory directory;
  store::Key early;
  {
    Rig rig(directory.path());
    rig.inner.head = rig.builder.recording().request;
    rig.inner.pieces = {{"half", std::nullopt, ""}, {"half", std::nullopt, ""}};
    ASSERT_TRUE(rig.recording.respond(stream_head(), http::EndStream::No));
    rig.answer("no");
    rig.run_until_saved(2);
    store::KeyBuilder key = rig.builder.key_builder();
    make_early(key, rig.inner.head);
    early = key.key();
  }
  const auto store = store::open_store(directory.path());
  EXPECT_EQ(store->lookup("default", early)->size(), 1U);
}

}  // namespace
}  // namespace tapdeck::modes
