#include "daemon/modes/limited_exchange.h"

#include <gmock/gmock.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include "daemon/exchange/error_response.h"
#include "daemon/exchange/fake_exchange.h"

namespace tapdeck::modes {
namespace {

using exchange::FakeExchange;
using testing::ElementsAre;

http::ResponseHead head_of(std::string_view length) {
  http::ResponseHead head;
  head.status = 200;
  if (!length.empty()) head.headers.add("Content-Length", length);
  return head;
}

// Reads the request body to its end or first failure; the status that failure is answered with, 0: none.
int read(FakeExchange& exchange, uint64_t max_body) {
  LimitedExchange limited(exchange, max_body);
  int status = 0;
  asio::io_context io{1};
  auto run = [&]() -> net::Task<> {
    bool end = false;
    while (!end) {
      auto piece = co_await limited.read_body();
      if (!piece) {
        status = exchange::status_of(piece.error());
        co_return;
      }
      end = piece->end;
    }
  };
  asio::co_spawn(io, run(), asio::detached);
  io.run();
  return status;
}

TEST(LimitedExchange, ARequestBodyOfTheLimitPassesAndOneByteMoreIs413) {
  FakeExchange exact, longer;
  exact.pieces = {{"ab", {}, {}}, {"cd", {}, {}}};
  longer.pieces = {{"ab", {}, {}}, {"cde", {}, {}}};
  EXPECT_EQ(read(exact, 4), 0);
  EXPECT_EQ(read(longer, 4), 413);
}

TEST(LimitedExchange, AnAnnouncedLengthIsEnoughToRefuse) {
  FakeExchange exchange;
  exchange.head.headers.add("Content-Length", "5");
  EXPECT_TRUE(LimitedExchange(exchange, 5).check_request());
  const auto refused = LimitedExchange(exchange, 4).check_request();
  ASSERT_FALSE(refused);
  EXPECT_EQ(exchange::status_of(refused.error()), 413);
  EXPECT_EQ(exchange::name_of(refused.error()), "body_too_large");
}

TEST(LimitedExchange, ALongResponseIsRefusedBeforeItsHeadOrCutInItsBody) {
  FakeExchange announced, chunked, head_only;
  const auto refused = LimitedExchange(announced, 4).respond(head_of("5"), http::EndStream::No);
  ASSERT_FALSE(refused);
  EXPECT_EQ(exchange::status_of(refused.error()), 502);
  EXPECT_TRUE(announced.sent.empty()) << "so that a 502 can be sent";
  LimitedExchange limited(chunked, 4);
  EXPECT_TRUE(limited.respond(head_of(""), http::EndStream::No));
  EXPECT_TRUE(limited.write_now({"abcd", std::nullopt, false}));
  EXPECT_FALSE(limited.write_now({"e", std::nullopt, false}));
  EXPECT_THAT(chunked.sent, ElementsAre("head 200", "body abcd"));
  EXPECT_TRUE(LimitedExchange(head_only, 4).respond(head_of("500"), http::EndStream::Yes)) << "HEAD has no body";
}

TEST(LimitedExchange, OurOwnAnswerIsAsLongAsItIs) {
  FakeExchange exchange;
  LimitedExchange limited(exchange, 4);
  asio::io_context io{1};
  auto run = [&]() -> net::Task<> {
    auto told = co_await exchange::respond_json(limited, 502, "{\"error\":\"x\"}");
    EXPECT_TRUE(told);
  };
  asio::co_spawn(io, run(), asio::detached);
  io.run();
  EXPECT_THAT(exchange.sent, ElementsAre("head 502", "body {\"error\":\"x\"}", "end"));
}

TEST(LimitedExchange, HowMuchTheClientTakesNowIsWhatItsConnectionSays) {
  FakeExchange exchange;
  LimitedExchange limited(exchange, 4);
  exchange.writable = 100;
  EXPECT_EQ(limited.writable_now(), 100U);
  EXPECT_FALSE(*limited.try_flush());
  exchange.flushes_now = true;
  EXPECT_TRUE(*limited.try_flush());
}

}  // namespace
}  // namespace tapdeck::modes
