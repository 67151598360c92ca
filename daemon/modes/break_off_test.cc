// Clients that are waited for where they had left on tape.
#include "daemon/modes/break_off.h"

#include <gtest/gtest.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include "daemon/exchange/fake_exchange.h"

namespace tapdeck::modes {
namespace {

using namespace std::chrono_literals;

TEST(WaitToBeLeft, OneThatStaysIsResetAndToldWhy) {
  asio::io_context io;
  exchange::FakeExchange exchange;
  exchange.head.version = http::Version::Http2;
  auto wait = [&]() -> net::Task<> {
    auto left = co_await wait_to_be_left(exchange, 1ms);
    EXPECT_TRUE(left);
  };
  asio::co_spawn(io, wait(), asio::detached);
  io.run();
  EXPECT_EQ(exchange.about.error_detail, kLeftOnTape);
  EXPECT_EQ(exchange.sent.back(), "reset");
}

TEST(StaysFor, OneThatHasEndedItsSideDoesNotStay) {
  for (const bool has_ended : {false, true}) {
    asio::io_context io;
    exchange::FakeExchange exchange;
    exchange.about.client_ended = has_ended;
    auto wait = [&]() -> net::Task<> {
      const bool stays = co_await stays_for(exchange, 1ms);
      EXPECT_NE(stays, has_ended);
    };
    asio::co_spawn(io, wait(), asio::detached);
    io.run();
    EXPECT_FALSE(exchange.about.only_waits);
  }
}

}  // namespace
}  // namespace tapdeck::modes
