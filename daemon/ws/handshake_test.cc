#include "daemon/ws/handshake.h"

#include <gtest/gtest.h>

namespace tapdeck::ws {
namespace {

http::RequestHead upgrade(const std::string& upgrade_value = "websocket", const std::string& connection = "Upgrade") {
  http::RequestHead head;
  head.method = "GET";
  head.headers.add("Upgrade", upgrade_value);
  head.headers.add("Connection", connection);
  return head;
}

http::Headers extensions(const std::string& value) {
  http::Headers headers;
  headers.add("Sec-WebSocket-Extensions", value);
  return headers;
}

TEST(Handshake, OnlyTheMatchingAnswerOpens) {
  http::ResponseHead response;
  response.status = 101;
  EXPECT_FALSE(is_opened(upgrade(), response)) << "101 to something else";
  response.headers.add("upgrade", "websocket");
  EXPECT_TRUE(is_opened(upgrade(), response));
  http::RequestHead with_body = upgrade();
  with_body.headers.add("Content-Length", "2");
  EXPECT_FALSE(is_opened(with_body, response)) << "no handshake, whatever the origin makes of it";
  response.status = 200;
  EXPECT_FALSE(is_opened(upgrade(), response)) << "the origin did not switch";
  http::RequestHead connect;
  connect.method = "CONNECT";
  connect.protocol = "websocket";
  EXPECT_TRUE(is_opened(connect, response));
}

TEST(Handshake, AcceptIsThatOfTheRfc) {
  EXPECT_EQ(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_TRUE(is_key("dGhlIHNhbXBsZSBub25jZQ=="));
  EXPECT_FALSE(is_key("dGhlIHNhbXBsZSBub25jZQ="));
  EXPECT_FALSE(is_key("dGhlIHNhbXBsZSBub25j ZQ=="));
  EXPECT_TRUE(is_key(random_key()));
  EXPECT_NE(random_key(), random_key());
}

TEST(Handshake, AgreedExtensionsAreRead) {
  EXPECT_FALSE(agreed_extensions({}).deflate);
  EXPECT_TRUE(agreed_extensions({}).known);
  const auto agreed =
      agreed_extensions(extensions("permessage-deflate; server_no_context_takeover; client_max_window_bits=\"10\""));
  ASSERT_TRUE(agreed.deflate && agreed.known);
  EXPECT_EQ(agreed.deflate->server, Context::Dropped);
  EXPECT_EQ(agreed.deflate->client, Context::Kept);
  EXPECT_EQ(agreed.deflate->client_window_bits, 10);
  for (const std::string odd : {"x-webkit-deflate-frame", "permessage-deflate; server_max_window_bits=16",
                                "permessage-deflate; server_max_window_bits=08", "permessage-deflate; what",
                                "permessage-deflate, permessage-deflate",
                                "permessage-deflate; server_no_context_takeover; server_no_context_takeover"}) {
    EXPECT_FALSE(agreed_extensions(extensions(odd)).known) << odd;
  }
}

TEST(Handshake, OfferIsMetAsTheOriginMetIt) {
  const DeflateParams plain;
  EXPECT_FALSE(accept_offer({}, plain));
  EXPECT_FALSE(accept_offer(extensions("x-other"), plain));
  auto agreed = accept_offer(extensions("permessage-deflate; client_max_window_bits"), plain);
  ASSERT_TRUE(agreed);
  EXPECT_EQ(to_header(*agreed), "permessage-deflate");
  const DeflateParams wanted{Context::Dropped, Context::Kept, 12, 11};
  agreed = accept_offer(extensions("permessage-deflate; client_max_window_bits; server_max_window_bits=10"), wanted);
  ASSERT_TRUE(agreed);
  EXPECT_EQ(to_header(*agreed),
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11");
  agreed = accept_offer(extensions("permessage-deflate"), wanted);
  ASSERT_TRUE(agreed);
  EXPECT_EQ(agreed->client_window_bits, 15) << "the client did not say that it knows the parameter";
}

TEST(Handshake, OfferThatCannotBeMetIsPassedOver) {
  const DeflateParams plain;
  EXPECT_FALSE(accept_offer(extensions("permessage-deflate; server_max_window_bits=8"), plain));
  EXPECT_FALSE(accept_offer(extensions("permessage-deflate; no_such=1"), plain));
  const auto second = accept_offer(
      extensions("permessage-deflate; server_max_window_bits=8, permessage-deflate; client_no_context_takeover"),
      plain);
  ASSERT_TRUE(second);
  EXPECT_EQ(to_header(*second), "permessage-deflate; client_no_context_takeover");
}

}  // namespace
}  // namespace tapdeck::ws
