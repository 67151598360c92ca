// How a TlsSession ends: by close_notify, or with the connection alone.
#include <gtest/gtest.h>

#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using testing::Pump;
using testing::World;

TEST(TlsEnd, CloseNotifyEndsInOrderAndIsHalf) {
  World world;
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run());
  ASSERT_TRUE(client->encrypt("last"));
  client->close_notify();
  EXPECT_FALSE(client->encrypt("too late"));
  pump.run();
  EXPECT_EQ(pump.server_got.to_string(), "last");
  EXPECT_EQ(server->state(), TlsSession::State::PeerClosed);
  EXPECT_TRUE(server->end_of_input());
  ASSERT_TRUE(server->encrypt("answer"));
  server->close_notify();
  EXPECT_EQ(server->state(), TlsSession::State::Closed);
  pump.run();
  EXPECT_EQ(pump.client_got.to_string(), "answer");
  EXPECT_EQ(client->state(), TlsSession::State::Closed);
}

TEST(TlsEnd, AnEndWithoutCloseNotifyIsATruncationThatCanBeAnswered) {
  World world;
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run());
  for (int i = 0; i < 2; ++i) {
    const auto ended = server->end_of_input();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code, Code::Truncated);
    EXPECT_EQ(server->state(), TlsSession::State::PeerClosed);
  }
  ASSERT_TRUE(server->encrypt("answer"));
  server->close_notify();
  EXPECT_EQ(server->state(), TlsSession::State::Closed);
  EXPECT_FALSE(server->end_of_input());
  pump.run();
  EXPECT_EQ(pump.client_got.to_string(), "answer");
  EXPECT_EQ(client->state(), TlsSession::State::PeerClosed);
}

TEST(TlsEnd, AnEndDuringTheHandshakeIsATruncation) {
  World world;
  auto server = world.accept(leaf_for("api.test"));
  const auto ended = server->end_of_input();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Code::Truncated);
  EXPECT_EQ(ended.error().origin, Origin::Downstream);
  EXPECT_EQ(server->state(), TlsSession::State::Failed);
}

}  // namespace
}  // namespace tapdeck::tls
