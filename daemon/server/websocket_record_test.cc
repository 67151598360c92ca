// WebSockets through a whole worker in record mode: bytes pass untouched, messages are kept while they pass.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/server/websocket_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

TEST(WebSocketRecord, MessagesOfBothSidesAreKeptInTheirOrder) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(upgrade_response() + text("welcome"));
    MessageWire messages(std::move(wire), {ws::From::Client, std::nullopt});
    EXPECT_EQ(messages.next(), "text hi");
    messages.wire().write(text("hi back") + ws::frame(0x89, "you there?", false));
    EXPECT_EQ(messages.next(), "pong you there?");
    EXPECT_EQ(messages.next(), "close 1000 done");
    messages.wire().write(close_of(1000, "done"));
    wire = std::move(messages.wire());
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  MessageWire client = open_websocket(rig, "/chat");
  EXPECT_EQ(client.next(), "text welcome");
  client.wire().write(client_text("hi"));
  EXPECT_EQ(client.next(), "text hi back");
  EXPECT_EQ(client.next(), "ping you there?");
  client.wire().write(ws::frame(0x8a, "you there?") + close_of(1000, "done", true));
  EXPECT_EQ(client.next(), "close 1000 done");
  EXPECT_EQ(client.next(), "<EOF>");
  client.wire().close();
  const store::Recording recording = only_recording(rig);
  EXPECT_EQ(recording.outcome.kind, store::Outcome::Kind::Complete) << recording.outcome.reason;
  EXPECT_THAT(lines_of(*rig.store, recording),
              ElementsAre("< text welcome", "> text hi", "< text hi back", "< ping you there?", "> pong you there?",
                          "> close 1000 done", "< close 1000 done"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  EXPECT_EQ(rig.count(Counter::WebSocketUp), 3U);
  EXPECT_EQ(rig.count(Counter::WebSocketDown), 4U);
  EXPECT_EQ(rig.count(Counter::TunnelledUpgrade), 0U) << "it is recorded, not handed through unseen";
  const std::string sent = client_text("hi") + ws::frame(0x8a, "you there?") + close_of(1000, "done", true);
  const std::string got =
      text("welcome") + text("hi back") + ws::frame(0x89, "you there?", false) + close_of(1000, "done");
  EXPECT_EQ(rig.count(Counter::BytesUp), sent.size());
  EXPECT_EQ(rig.count(Counter::BytesDown), got.size());
  EXPECT_EQ(rig.count(Counter::TunnelledBytesUp) + rig.count(Counter::TunnelledBytesDown), 0U);
}

TEST(WebSocketRecord, CompressedMessagesAreKeptInflated) {
  WorkerRig rig;
  ws::Deflater deflater(ws::Context::Kept, 15);
  const std::string one = deflater.message("same same same").value(), two = deflater.message("same same same").value();
  ScriptedOrigin origin([&](Wire& wire) {
    EXPECT_TRUE(wire.read_until("\r\n\r\n").contains("permessage-deflate; client_max_window_bits")) << "as offered";
    wire.write(upgrade_response("Sec-WebSocket-Extensions: permessage-deflate\r\n") + ws::frame(0xc1, one, false) +
               ws::frame(0xc1, two, false) + close_of(1001));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  MessageWire client =
      open_websocket(rig, "/z", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
  EXPECT_EQ(client.next(), "text* same same same");
  EXPECT_EQ(client.next(), "text* same same same");
  EXPECT_EQ(client.next(), "close 1001 ");
  client.wire().close();
  EXPECT_THAT(lines_of(*rig.store, only_recording(rig)),
              ElementsAre("< text* same same same", "< text* same same same", "< close 1001 "));
}

TEST(WebSocketRecord, BytesThatCannotBeReadPassAndEndOnlyTheRecording) {
  WorkerRig rig;
  const std::string nonsense = ws::frame(0xb3, "reserved", false);
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(upgrade_response() + text("fine") + nonsense);
    EXPECT_EQ(wire.read_n(4), "more");
    wire.write("and more");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(upgrade_request("/odd"));
  wire.read_until("\r\n\r\n");
  EXPECT_EQ(wire.read_n(text("fine").size() + nonsense.size()), text("fine") + nonsense);
  wire.write("more");
  EXPECT_EQ(wire.rest(), "and more<EOF>");
  wire.close();
  const store::Recording recording = only_recording(rig);
  EXPECT_EQ(recording.outcome.kind, store::Outcome::Kind::Incomplete);
  EXPECT_EQ(recording.outcome.reason, "websocket_protocol");
  EXPECT_THAT(lines_of(*rig.store, recording), ElementsAre("< text fine"));
  EXPECT_EQ(rig.count(Counter::IncompleteProtocol), 1U);
}

TEST(WebSocketRecord, APeerThatIsFasterThanTheStoreWaitsForIt) {
  constexpr int kMessages = 1500;
  RigOptions options;
  options.writer.queue_bytes = 6 << 20;  // a seventh of what is said
  WorkerRig rig(options);
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(upgrade_response());
    std::string payload(30000, 'x');
    for (int i = 0; i < kMessages; ++i) {
      payload.replace(0, 4, std::to_string(1000 + i));  // each segment another
      if (!wire.write(text(payload))) return ScriptedOrigin::End::Close;
    }
    wire.write(close_of(1000));
    wire.read_until("nothing more");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  MessageWire client = open_websocket(rig, "/fast");
  const size_t frame = text(std::string(30000, 'x')).size();
  for (int i = 0; i < kMessages; ++i) EXPECT_EQ(client.wire().read_n(frame).size(), frame);
  EXPECT_EQ(client.next(), "close 1000 ");
  client.wire().close();
  const store::Recording recording = only_recording(rig);
  EXPECT_EQ(recording.messages.size(), kMessages + 1U);
  EXPECT_EQ(recording.outcome.kind, store::Outcome::Kind::Complete) << recording.outcome.reason;
  EXPECT_EQ(rig.count(Counter::IncompleteStoreSlow), 0U);
}

TEST(WebSocketRecord, WhatTheStoreRefusedAPartOfIsLostAndSaidToBe) {
  RigOptions options;
  options.writer.queue_bytes = 100 << 10;
  WorkerRig rig(options);
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(upgrade_response() + text(std::string(60000, 'a')) + text(std::string(60000, 'b')) + close_of(1000));
    wire.read_until("nothing more");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  MessageWire client = open_websocket(rig, "/big");
  EXPECT_THAT(client.next(), StartsWith("text aaa"));
  EXPECT_THAT(client.next(), StartsWith("text bbb"));
  EXPECT_EQ(client.next(), "close 1000 ");
  client.wire().close();
  EXPECT_TRUE(
      eventually([&] { return rig.count(Counter::RecordingDropped) + rig.count(Counter::RecordingComplete) == 1; }));
  EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U);
  EXPECT_GE(rig.count(Counter::IncompleteStoreSlow), 1U);
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Forwarded) == 1; }));
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
}

TEST(WebSocketRecord, AnOriginThatResetsIsRecordedAsThat) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(upgrade_response() + text("so far"));
    EXPECT_EQ(wire.read_n(client_text("go").size()), client_text("go"));
    return ScriptedOrigin::End::Reset;
  });
  rig.go_to(origin.endpoint());
  MessageWire client = open_websocket(rig, "/r");
  EXPECT_EQ(client.next(), "text so far");
  client.wire().write(client_text("go"));
  EXPECT_EQ(client.next(), "<RST>");
  const store::Recording recording = only_recording(rig);
  EXPECT_EQ(recording.outcome.kind, store::Outcome::Kind::Reset);
  EXPECT_THAT(lines_of(*rig.store, recording), ElementsAre("< text so far", "> text go"));
}

}  // namespace
}  // namespace tapdeck::server
