#include "daemon/http/message.h"

#include <gtest/gtest.h>

namespace tapdeck::http {
namespace {

Headers sample() {
  Headers headers;
  headers.add("Set-Cookie", "a=1");
  headers.add("X-Empty", "");
  headers.add("set-cookie", "b=2");
  headers.add("Connection", "keep-alive, Upgrade");
  headers.add("connection", "close");
  return headers;
}

TEST(Headers, KeepOrderCaseAndRepeats) {
  const Headers headers = sample();
  ASSERT_EQ(headers.size(), 5u);
  EXPECT_EQ(headers[0].name, "Set-Cookie");
  EXPECT_EQ(headers[2].name, "set-cookie");
  EXPECT_EQ(headers[2].value, "b=2");
  EXPECT_EQ(headers[1].value, "");
}

TEST(Headers, LookupIgnoresCaseAndGivesTheFirst) {
  const Headers headers = sample();
  EXPECT_EQ(headers.find("SET-COOKIE"), "a=1");
  EXPECT_EQ(headers.count("set-cookie"), 2u);
  EXPECT_EQ(headers.find("x-none"), std::nullopt);
  EXPECT_EQ(headers.find("x-empty"), "");
}

TEST(Headers, SetReplacesAllAtThePlaceOfTheFirst) {
  Headers headers = sample();
  headers.set("set-COOKIE", "c=3");
  ASSERT_EQ(headers.size(), 4u);
  EXPECT_EQ(headers[0].name, "Set-Cookie");
  EXPECT_EQ(headers[0].value, "c=3");
  headers.set("New", "x");
  EXPECT_EQ(headers[4].name, "New");
}

TEST(Headers, SetMayTakeAViewOfTheListItself) {
  Headers headers = sample();
  headers.set("X-Empty", headers[0].value);
  EXPECT_EQ(headers.find("x-empty"), "a=1");
}

TEST(Headers, RemoveSaysHowMany) {
  Headers headers = sample();
  EXPECT_EQ(headers.remove("SET-cookie"), 2u);
  EXPECT_EQ(headers.remove("SET-cookie"), 0u);
  EXPECT_EQ(headers.size(), 3u);
  EXPECT_EQ(headers[0].name, "X-Empty");
}

TEST(Headers, TokensAreFoundInListsAndRepeats) {
  const Headers headers = sample();
  EXPECT_TRUE(headers.has_token("Connection", "upgrade"));
  EXPECT_TRUE(headers.has_token("Connection", "close"));
  EXPECT_FALSE(headers.has_token("Connection", "clos"));
  EXPECT_FALSE(headers.has_token("Connection", "keep-alive, Upgrade"));
}

TEST(Headers, EqualityIsByFieldNotByStorage) {
  Headers split;
  split.add("ab", "c");
  Headers other;
  other.add("a", "bc");
  EXPECT_FALSE(split == other);  // the same bytes, cut elsewhere
  EXPECT_TRUE(sample() == sample());
}

TEST(Headers, ClearKeepsNothingOfTheMessageBefore) {
  Headers headers = sample();
  headers.clear();
  EXPECT_TRUE(headers.empty());
  EXPECT_EQ(headers.bytes(), 0u);
  headers.add("A", "1");
  EXPECT_EQ(headers[0].name, "A");
}

RequestHead upgrade(std::string_view upgrade_value = "websocket", std::string_view connection = "Upgrade") {
  RequestHead head;
  head.method = "GET";
  head.headers.add("Upgrade", upgrade_value);
  head.headers.add("Connection", connection);
  return head;
}

TEST(RequestHead, AWebSocketHandshakeIsAGetWithUpgradeAndNoBody) {
  EXPECT_TRUE(is_websocket(upgrade()));
  EXPECT_TRUE(is_websocket(upgrade("h2c, WebSocket", "keep-alive, upgrade")));
  EXPECT_FALSE(is_websocket(upgrade("h2c")));
  EXPECT_FALSE(is_websocket(upgrade("websocket", "close")));
  RequestHead post = upgrade();
  post.method = "POST";
  EXPECT_FALSE(is_websocket(post));
  RequestHead old = upgrade();
  old.version = Version::Http10;
  EXPECT_FALSE(is_websocket(old)) << "RFC 6455 4.1";
  RequestHead empty = upgrade();
  empty.headers.add("Content-Length", "0");
  EXPECT_TRUE(is_websocket(empty));
  RequestHead sized = upgrade();
  sized.headers.add("Content-Length", "2");
  EXPECT_FALSE(is_websocket(sized));
  RequestHead chunked = upgrade();
  chunked.headers.add("Transfer-Encoding", "chunked");
  EXPECT_FALSE(is_websocket(chunked));
}

TEST(RequestHead, AConnectIsForATunnelOrForAProtocol) {
  RequestHead connect;
  connect.method = "CONNECT";
  EXPECT_TRUE(asks_for_tunnel(connect));
  EXPECT_FALSE(is_websocket(connect));
  connect.version = Version::Http2;
  connect.protocol = "WebSocket";
  EXPECT_FALSE(asks_for_tunnel(connect));
  EXPECT_TRUE(is_websocket(connect));
  connect.protocol = "other";
  EXPECT_FALSE(asks_for_tunnel(connect));
  EXPECT_FALSE(is_websocket(connect));
  connect.protocol.clear();
  connect.method = "GET";
  EXPECT_FALSE(asks_for_tunnel(connect));
}

TEST(Target, IsCutIntoPathAndQueryInEveryForm) {
  const struct {
    std::string_view target, path, query;
  } table[] = {{"/a?b=c?d", "/a", "b=c?d"},
               {"/", "/", ""},
               {"http://a.test/x?y#z", "/x", "y"},
               {"http://a.test", "/", ""},
               {"http://a.test?q", "/", "q"},
               {"*", "*", ""},
               {"/go?to=http://b.test/", "/go", "to=http://b.test/"},
               {"a.test:443", "a.test:443", ""}};
  for (const auto& row : table) {
    EXPECT_EQ(split_target(row.target).path, row.path) << row.target;
    EXPECT_EQ(split_target(row.target).query, row.query) << row.target;
  }
}

}  // namespace
}  // namespace tapdeck::http
