// The answer to a WebSocket's handshake in replay: field for field what it was, and refused by its client if it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/server/websocket_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;

const std::string kAccept = "Sec-WebSocket-Accept: " + ws::accept_of(kKey) + "\r\n";

// One whose 101 has `fields` behind Upgrade and Connection.
ScriptedOrigin::Script answering(const std::string& fields) {
  return [fields](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write("HTTP/1.1 101 Yes\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n" + fields + "\r\n");
    wire.rest();
    return ScriptedOrigin::End::Close;
  };
}

std::string head_of(WorkerRig& rig, const std::string& request) {
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(request));
  std::string head = wire.read_until("\r\n\r\n");
  wire.close();
  return head;
}

// Records the answer to a client that asks with `offers`; then that of replay to one with `later`.
std::pair<std::string, std::string> recorded_and_replayed(const std::string& fields, const std::string& offers,
                                                          const std::string& later) {
  WorkerRig rig;
  ScriptedOrigin origin(answering(fields));
  rig.go_to(origin.endpoint());
  std::string live = head_of(rig, upgrade_request("/chat", offers));
  only_recording(rig);
  origin.stop();
  rig.set_mode(Mode::Replay);
  return {live, head_of(rig, upgrade_request("/chat", later))};
}

TEST(WebSocketHandshake, WhatItsClientMustRefuseStaysThat) {
  const std::string fields[] = {
      "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
      "X-Accept: none\r\n",
      kAccept + "Sec-WebSocket-Protocol: unasked\r\n",
      kAccept + "Sec-WebSocket-Extensions: permessage-deflate\r\n",
  };
  for (const std::string& field : fields) {
    const auto [live, replayed] = recorded_and_replayed(field, "", "");
    EXPECT_THAT(live, HasSubstr(field));
    EXPECT_EQ(replayed, live);
  }
}

TEST(WebSocketHandshake, EveryFieldStaysInItsPlace) {
  const std::string offers =
      "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
  const std::string fields =
      "sec-websocket-extensions: permessage-deflate;client_max_window_bits=12\r\nSec-WebSocket-Protocol: chat\r\n" +
      kAccept + "X-Last: yes\r\n";
  const auto [live, replayed] = recorded_and_replayed(fields, offers, offers);
  EXPECT_THAT(live, HasSubstr(fields));
  EXPECT_EQ(replayed, live);
}

TEST(WebSocketHandshake, AnotherClientIsGivenWhatItAsksFor) {
  const std::string offers =
      "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
  const std::string fields =
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12\r\nSec-WebSocket-Protocol: chat\r\n" +
      kAccept;
  const auto [live, replayed] =
      recorded_and_replayed(fields, offers, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
  EXPECT_THAT(live, HasSubstr(fields));
  EXPECT_THAT(replayed, HasSubstr("upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" + kAccept + "\r\n"));
  EXPECT_THAT(recorded_and_replayed(fields, offers, "").second, HasSubstr("upgrade\r\n" + kAccept + "\r\n"));
}

}  // namespace
}  // namespace tapdeck::server
