#include "daemon/exchange/exchange_decorator.h"

#include <gmock/gmock.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include "daemon/exchange/fake_exchange.h"

namespace tapdeck::exchange {
namespace {

using ::testing::ElementsAre;

class Plain final : public ExchangeDecorator {
 public:
  explicit Plain(Exchange& inner) : ExchangeDecorator(inner) {}
};

TEST(ExchangeDecorator, WhatIsAskedOfItIsAskedOfTheOneWithin) {
  FakeExchange inner;
  Plain plain(inner);
  EXPECT_TRUE(plain.request_is_bodyless());
  inner.pieces = {{"x", {}, {}}};
  inner.writable = 7;
  EXPECT_FALSE(plain.request_is_bodyless());
  EXPECT_FALSE(plain.response_started());
  EXPECT_EQ(plain.writable_now(), 7U);
  EXPECT_EQ(&plain.request(), &inner.head);
  EXPECT_EQ(&plain.request_trailers(), &inner.trailers);
  EXPECT_EQ(&plain.flow(), &inner.from);
  EXPECT_EQ(&plain.tls(), &inner.tls_facts);
  EXPECT_EQ(&plain.facts(), &inner.about);
  EXPECT_FALSE(*plain.try_flush());
  inner.flushes_now = true;
  EXPECT_TRUE(*plain.try_flush());
}

TEST(ExchangeDecorator, WhatIsSentThroughItGoesOnAsItIs) {
  FakeExchange inner;
  inner.pieces = {{"x", {}, {}}};
  Plain plain(inner);
  http::ResponseHead head;
  head.status = 103;
  EXPECT_TRUE(plain.inform(head));
  head.status = 200;
  EXPECT_TRUE(plain.respond(head, http::EndStream::No));
  EXPECT_TRUE(plain.response_started());
  EXPECT_TRUE(plain.write_now({"a", std::nullopt, false}));
  asio::io_context io{1};
  auto run = [&]() -> net::Task<> {
    auto piece = co_await plain.read_body();
    EXPECT_EQ(piece->bytes, "x");
    const BodyPiece last{"b", std::nullopt, true};
    auto written = co_await plain.write_body(last);
    EXPECT_TRUE(written);
    auto flushed = co_await plain.flush();
    EXPECT_TRUE(flushed);
    auto delivered = co_await plain.deliver();
    EXPECT_TRUE(delivered);
  };
  asio::co_spawn(io, run(), asio::detached);
  io.run();
  EXPECT_EQ(inner.flushes, 2U);
  plain.become_tunnel();
  EXPECT_TRUE(plain.end({}));
  plain.cut(http::ResetCode::Cancel);
  plain.reset(http::ResetCode::Cancel);
  plain.reset_connection();
  EXPECT_THAT(inner.sent, ElementsAre("inform 103", "head 200", "body a", "body b", "tunnel", "end", "cut", "reset",
                                      "reset connection"));
}

}  // namespace
}  // namespace tapdeck::exchange
