// What the recorder makes of the messages: daemon/server/websocket_record_test.cc. Here: a store that refuses some.
#include "daemon/modes/websocket_recorder.h"

#include <gtest/gtest.h>
#include <asio/io_context.hpp>

#include "daemon/net/task_group.h"
#include "store/test_support.h"

namespace tapdeck::modes {
namespace {

using namespace std::chrono_literals;

TEST(WebSocketRecorder, AClientThatLeavesDoesNotChangeWhyARecordingIsLost) {
  const TestDirectory directory;
  auto store = store::open_store(directory.path());
  auto writer = *store::StoreWriter::start(*store, {.queue_bytes = store::kSegmentBytes / 2});
  asio::io_context io{1};
  MetricsRegistry registry;
  StoreLink link(io.get_executor(), *writer, registry.create(), {.hold_limit = 10s});
  store::Recorder recorder(*store, "default");
  store::RecordingBuilder builder = recorder.begin("/ws");
  http::ResponseHead head;
  head.status = 101;
  builder.response(head);
  exchange::Facts facts;
  facts.began = exchange::Clock::now();
  {
    WebSocketRecorder websocket(head, builder, link, facts);
    // One binary message, longer than a segment, of the server.
    std::string frame = "\x82\x7f";
    frame += std::string("\0\0\0\0\0\x05\0\0", 8) + std::string(0x50000, 'x');
    websocket.passed(store::BodySide::Response, frame);
    io.poll();  // handed over, and refused
    ASSERT_TRUE(link.was_refused(builder.id()));
    net::TaskGroup group(io.get_executor());
    group.spawn(websocket.finish({}));
    asio::post(io, [&group] { group.cancel(); });
    io.restart();
    const auto limit = std::chrono::steady_clock::now() + 10s;
    while (group.size() > 0 && std::chrono::steady_clock::now() < limit) io.run_one_for(100ms);
    ASSERT_EQ(group.size(), 0U);
  }
  link.close();
  io.restart();
  io.poll();
  const auto counts = registry.snapshot();
  EXPECT_EQ(counts.value(Counter::RecordingDropped), 1U);
  EXPECT_EQ(counts.value(Counter::IncompleteStoreSlow), 1U);
  EXPECT_EQ(counts.value(Counter::IncompleteStoreError), 0U);
  EXPECT_EQ(facts.recording, 0U);
}

}  // namespace
}  // namespace tapdeck::modes
