#include "daemon/modes/websocket_heads.h"

#include <gtest/gtest.h>

#include "daemon/ws/handshake.h"

namespace tapdeck::modes {
namespace {

constexpr const char* kKey = "dGhlIHNhbXBsZSBub25jZQ==";

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
  const auto refused = refusal_by_h1(connect, response, kKey);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, Code::Protocol);
  EXPECT_EQ(refused->origin, Origin::Upstream);
  for (const int other : {302, 403}) {
    response.status = other;
    EXPECT_FALSE(refusal_by_h1(connect, response, kKey)) << other;
  }
  response.status = 200;
  response.version = http::Version::Http2;
  EXPECT_FALSE(refusal_by_h1(connect, response, kKey));
}

TEST(WebSocketHeads, ASwitchOpensWhatItNamesAndAccepts) {
  http::RequestHead connect;
  connect.method = "CONNECT";
  connect.protocol = "websocket";
  const struct {
    const char *upgrade, *accept, *key;
    bool opens;
  } table[] = {
      {"websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", kKey, true},
      {"WebSocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", kKey, true},
      {"websocket", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", kKey, false},
      {"websocket", nullptr, kKey, false},
      {nullptr, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", kKey, false},
      {"websocket", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "", true},
  };
  for (const auto& row : table) {
    http::ResponseHead response;
    response.status = 101;
    if (row.upgrade != nullptr) response.headers.add("Upgrade", row.upgrade);
    if (row.accept != nullptr) response.headers.add("Sec-WebSocket-Accept", row.accept);
    const auto refused = refusal_by_h1(connect, response, row.key);
    EXPECT_EQ(!refused, row.opens);
    if (refused) EXPECT_EQ(refused->code, Code::Protocol);
  }
}

}  // namespace
}  // namespace tapdeck::modes
