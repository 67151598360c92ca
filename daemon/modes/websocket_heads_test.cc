#include "daemon/modes/websocket_heads.h"

#include <gtest/gtest.h>

#include "daemon/ws/handshake.h"

namespace tapdeck::modes {
namespace {

TEST(WebSocketHeads, AnExtendedConnectGetsTheKeyThatH1Needs) {
  http::RequestHead connect;
  connect.method = "CONNECT";
  connect.protocol = "websocket";
  connect.version = http::Version::Http2;
  const http::RequestHead head = for_h1_origin(connect);
  EXPECT_TRUE(ws::is_key(head.headers.find("sec-websocket-key").value_or("")));
  EXPECT_EQ(head.headers.find("sec-websocket-version"), "13");
  connect.headers.add("sec-websocket-version", "13");
  EXPECT_EQ(for_h1_origin(connect).headers.count("sec-websocket-version"), 1U);
}

TEST(WebSocketHeads, AnH2YesBecomesTheSwitchAnH1ClientWaitsFor) {
  http::RequestHead upgrade;
  upgrade.method = "GET";
  upgrade.headers.add("Connection", "Upgrade");
  upgrade.headers.add("Upgrade", "websocket");
  upgrade.headers.add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
  http::ResponseHead response;
  response.status = 200;
  response.version = http::Version::Http2;
  response.headers.add("sec-websocket-protocol", "chat");
  ASSERT_TRUE(is_opened_by_h2(upgrade, response));
  const http::ResponseHead head = for_h1_client(upgrade, response);
  EXPECT_TRUE(ws::is_opened(upgrade, head));
  EXPECT_EQ(head.headers.find("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(head.headers.find("sec-websocket-protocol"), "chat");
  response.status = 403;
  EXPECT_FALSE(is_opened_by_h2(upgrade, response));
}

TEST(WebSocketHeads, AnH1YesThatIsNoSwitchIsARefusal) {
  http::RequestHead connect;
  connect.method = "CONNECT";
  connect.protocol = "websocket";
  http::ResponseHead response;
  response.status = 200;
  const auto refused = refusal_by_h1(connect, response);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, Code::Protocol);
  EXPECT_EQ(refused->origin, Origin::Upstream);
  for (const int other : {101, 302, 403}) {
    response.status = other;
    EXPECT_FALSE(refusal_by_h1(connect, response)) << other;
  }
  response.status = 200;
  response.version = http::Version::Http2;
  EXPECT_FALSE(refusal_by_h1(connect, response));
}

}  // namespace
}  // namespace tapdeck::modes
