// What a Session bounds: heads, waits, and bytes held for a side that does not read.
#include <gmock/gmock.h>

#include "daemon/exchange/error_response.h"
#include "daemon/server/session_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using exchange::BodyPiece;
using exchange::Exchange;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kGetOfX = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(SessionLimits, AHeadThatIsNotCompletedInTimeGets408) {
  SessionLimits limits;
  limits.header_timeout = 30ms;
  Rig rig(limits);
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("GET /a HTTP/1.1\r\nHos");
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
    EXPECT_THAT(all, HasSubstr("\r\nConnection: close\r\n"));
    EXPECT_THAT(all, HasSubstr("\"error\":\"request_timeout\""));
    EXPECT_THAT(all, testing::EndsWith("<EOF>"));
    rig.client->close();
  });
  EXPECT_EQ(rig.count(Counter::LimitHeaderTimeout), 1U);
  EXPECT_TRUE(rig.handler.targets.empty());
}

TEST(SessionLimits, DrippingBytesDoNotProlongTheHeaderTimeout) {
  SessionLimits limits;
  limits.header_timeout = 60ms;
  Rig rig(limits);
  const auto began = std::chrono::steady_clock::now();
  rig.run([&]() -> net::Task<> {
    asio::steady_timer pause(rig.io);
    co_await rig.client->send("GET /a HTTP/1.1\r\n");
    while (rig.count(Counter::LimitHeaderTimeout) == 0 && std::chrono::steady_clock::now() - began < 5s) {
      pause.expires_after(5ms);
      auto [stopped] = co_await pause.async_wait(net::kToken);
      EXPECT_FALSE(stopped);
      co_await rig.client->send("X");
    }
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 408 "));
    rig.client->close();
  });
}

TEST(SessionLimits, AnIdleConnectionEndsWithoutAWord) {
  SessionLimits limits;
  limits.idle_timeout = 30ms;
  Rig rig(limits);
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetOfX);
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, ok("GET /a []") + "<EOF>");
    rig.client->close();
  });
  EXPECT_EQ(rig.count(Counter::LimitIdleTimeout), 1U);
}

const std::string kHalfAPost = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n" + std::string(20, 'x');

TEST(SessionLimits, ABodyThatStallsGets408AndAnOrderlyEnd) {
  SessionLimits limits;
  limits.idle_timeout = 30ms;
  Rig rig(limits);
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kHalfAPost);
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
    EXPECT_THAT(all, HasSubstr("\r\nConnection: close\r\n"));
    EXPECT_THAT(all, HasSubstr("\"error\":\"request_timeout\""));
    EXPECT_THAT(all, testing::EndsWith("<EOF>"));
    rig.client->close();
  });
  EXPECT_EQ(rig.count(Counter::LimitIdleTimeout), 1U);
  EXPECT_EQ(rig.observer.errors, std::vector<std::string>{"request_timeout"});
}

// What its handler waits for is not the client, and may never come: it is stopped.
TEST(SessionLimits, ABodyThatStallsEndsAHandlerThatDoesNotReadIt) {
  SessionLimits limits;
  limits.idle_timeout = 30ms;
  Rig rig(limits);
  net::Signal never(rig.io.get_executor());
  rig.handler.body = [&](Exchange&) -> net::Task<Result<void>> {
    co_await never.wait();
    co_return fail(Code::Cancelled, "stopped", Origin::Internal);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kHalfAPost);
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 408 "));
    EXPECT_THAT(all, testing::EndsWith("<EOF>"));
    rig.client->close();
  });
  EXPECT_EQ(rig.observer.errors, std::vector<std::string>{"request_timeout"});
}

TEST(SessionLimits, ABodyThatStallsBehindTheBeginOfItsAnswerIsBrokenOff) {
  SessionLimits limits;
  limits.idle_timeout = 30ms;
  Rig rig(limits);
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead head;
    head.status = 200;
    head.headers.add("Content-Length", "9");
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    auto flushed = co_await exchange.flush();
    if (!flushed) co_return flushed;
    CO_TRY(body, co_await read_all(exchange));
    co_return fail(Code::Internal, "got " + body, Origin::Internal);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kHalfAPost);
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 200 "));
    EXPECT_THAT(all, testing::EndsWith("<RST>"));
    rig.client->close();
  });
  EXPECT_EQ(rig.observer.errors, std::vector<std::string>{"request_timeout"});
}

TEST(SessionLimits, AnExchangeThatTakesTooLongGets504) {
  SessionLimits limits;
  limits.request_timeout = 30ms;
  Rig rig(limits);
  net::Signal never(rig.io.get_executor());
  rig.handler.body = [&](Exchange&) -> net::Task<Result<void>> {
    co_await never.wait();
    co_return fail(Code::Cancelled, "stopped", Origin::Internal);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetOfX);
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
    EXPECT_THAT(all, HasSubstr("limits.request_timeout"));
    rig.client->close();
  });
  EXPECT_EQ(rig.count(Counter::LimitRequestTimeout), 1U);
  EXPECT_EQ(rig.observer.errors, std::vector<std::string>{"upstream_timeout"});
}

TEST(SessionLimits, ThatItTookTooLongIsSaidThoughItsHandlerTakesAWhileToEnd) {
  SessionLimits limits;
  limits.request_timeout = 30ms;
  Rig rig(limits);
  bool is_told = false;
  net::Signal told(rig.io.get_executor());
  rig.handler.body = [&](Exchange&) -> net::Task<Result<void>> {
    while (!is_told) co_await told.wait();
    co_return fail(Code::Cancelled, "stopped", Origin::Internal);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetOfX);
    auto answer = co_await rig.client->read_until("}\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
    is_told = true;
    told.notify();
    rig.client->half_close();
    auto rest = co_await rig.client->rest();
    EXPECT_EQ(rest, "<EOF>");
    rig.client->close();
  });
}

// Bytes that its handler does not take, as the origin takes none: an upload that is not the client's to finish.
TEST(SessionLimits, AnUploadThatIsNotTakenGets504AndAnOrderlyEnd) {
  SessionLimits limits;
  limits.request_timeout = 30ms;
  Rig rig(limits);
  net::Signal never(rig.io.get_executor());
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    CO_TRY(piece, co_await exchange.read_body());
    EXPECT_FALSE(piece.end);
    co_await never.wait();
    co_return fail(Code::Cancelled, "stopped", Origin::Internal);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kHalfAPost);
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 504 "));
    EXPECT_THAT(all, HasSubstr("\r\nConnection: close\r\n"));
    EXPECT_THAT(all, testing::EndsWith("<EOF>"));
    rig.client->close();
  });
  EXPECT_EQ(rig.observer.errors, std::vector<std::string>{"upstream_timeout"});
}

TEST(SessionLimits, AHeadBeyondTheLimitGets431) {
  Rig rig({}, http::make_h1_codec(http::Role::Server, {1024, 16}));
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("GET /a HTTP/1.1\r\nHost: x\r\nX: " + std::string(4000, 'x') + "\r\n\r\n");
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
    rig.client->close();
  });
  EXPECT_EQ(rig.count(Counter::LimitHeadBytes), 1U);
}

TEST(SessionLimits, AChunkExtensionBeyondTheLimitIsNoHead) {
  Rig rig;
  rig.handler.body = [](Exchange& exchange) -> net::Task<Result<void>> {
    auto body = co_await read_all(exchange);
    if (body) co_return co_await answer(exchange, 200, *body);
    const std::string told = exchange::json_of(body.error(), "x");
    co_return co_await answer(exchange, exchange::status_of(body.error()), told);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" +
                              std::string(5000, 'x') + "\r\na\r\n0\r\n\r\n");
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 400 "));
    EXPECT_THAT(all, HasSubstr("chunk line longer than 1024 bytes\""));
    rig.client->close();
  });
  EXPECT_EQ(rig.count(Counter::LimitHeadBytes), 0U);
}

TEST(SessionLimits, TooManyFieldsHaveACountOfTheirOwn) {
  Rig rig({}, http::make_h1_codec(http::Role::Server, {1024, 4}));
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n");
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
    EXPECT_THAT(all, HasSubstr("more header fields than the limit\""));
    rig.client->close();
  });
  EXPECT_EQ(rig.count(Counter::LimitHeaderCount), 1U);
  EXPECT_EQ(rig.count(Counter::LimitHeadBytes), 0U);
}

// A sender that is not read: pushes until nothing moves any more, over many turns of the loop.
net::Task<size_t> push_until_stuck(Rig& rig, ByteQueue& queue) {
  const size_t most = queue.size();
  int quiet = 0;
  while (quiet < 200 && !queue.empty()) {
    const size_t before = queue.size();
    auto done = rig.client->stream().try_write(queue);
    EXPECT_TRUE(done);
    quiet = queue.size() == before ? quiet + 1 : 0;
    co_await asio::post(rig.io, asio::use_awaitable);
  }
  co_return most - queue.size();
}

TEST(SessionLimits, ABodyNobodyReadsPausesItsSender) {
  constexpr size_t kAll = 16 << 20;
  SessionLimits limits;
  limits.body_buffer = 65536;
  Rig rig(limits, nullptr, 65536);
  net::Signal go(rig.io.get_executor());
  bool may_read = false;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    while (!may_read) co_await go.wait();
    CO_TRY(body, co_await read_all(exchange));
    co_return co_await answer(exchange, 200, std::to_string(body.size()));
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(kAll) + "\r\n\r\n");
    ByteQueue body;
    body.append(std::string(kAll, 'b'));
    const size_t pushed = co_await push_until_stuck(rig, body);
    EXPECT_LT(pushed, 2U << 20) << "body_buffer and two socket buffers are all that may be held";
    may_read = true;
    go.notify();
    auto sent = co_await rig.client->stream().write_all(body);
    EXPECT_TRUE(sent);
    auto got = co_await rig.client->read_until(std::to_string(kAll));
    EXPECT_EQ(got, ok(std::to_string(kAll)));
    rig.client->close();
  });
}

// What is kept of a chunk beside its bytes counts as well.
TEST(SessionLimits, ChunksOfAByteThatNobodyReadsPauseTheirSender) {
  constexpr size_t kChunks = 400'000;
  const std::string chunk = "1\r\nb\r\n";
  SessionLimits limits;
  limits.body_buffer = 1 << 20;  // of their bytes alone all of them
  Rig rig(limits, nullptr, 65536);
  net::Signal go(rig.io.get_executor());
  bool may_read = false;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    while (!may_read) co_await go.wait();
    CO_TRY(body, co_await read_all(exchange));
    co_return co_await answer(exchange, 200, std::to_string(body.size()));
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    std::string all;
    for (size_t i = 0; i < kChunks; ++i) all += chunk;
    all += "0\r\n\r\n";
    ByteQueue queue;
    queue.append(all);
    const size_t pushed = co_await push_until_stuck(rig, queue);
    EXPECT_LT(pushed, 1U << 20) << "of " << all.size();
    may_read = true;
    go.notify();
    auto sent = co_await rig.client->stream().write_all(queue);
    EXPECT_TRUE(sent);
    auto got = co_await rig.client->read_until(std::to_string(kChunks));
    EXPECT_EQ(got, ok(std::to_string(kChunks)));
    rig.client->close();
  });
}

TEST(SessionLimits, AClientThatDoesNotReadPausesTheHandler) {
  constexpr size_t kPieces = 1024;
  const std::string piece_bytes(16384, 'r');
  Rig rig({}, nullptr, 65536);
  size_t written = 0;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead head;
    head.status = 200;
    head.headers.add("Content-Length", std::to_string(kPieces * piece_bytes.size()));
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    for (; written < kPieces; ++written) {
      const BodyPiece piece{piece_bytes, std::nullopt, false};
      CO_TRY_VOID(co_await exchange.write_body(piece));
    }
    co_return exchange.end({});
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetOfX);
    size_t before = 1;
    for (int quiet = 0; quiet < 200; quiet = written == before ? quiet + 1 : 0) {
      before = written;
      co_await asio::post(rig.io, asio::use_awaitable);
    }
    EXPECT_LT(written, 64U) << "the handler ran ahead of its reader";
    auto head = co_await rig.client->read_until("\r\n\r\n");
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all.size(), kPieces * piece_bytes.size() + 5);
  });
}

TEST(SessionLimits, AClientThatNeverReadsIsGivenUpAfterTheIdleTimeout) {
  SessionLimits limits;
  limits.idle_timeout = 50ms;
  Rig rig(limits, nullptr, 65536);
  const std::string much(8 << 20, 'r');
  rig.handler.body = [&](Exchange& exchange) { return answer(exchange, 200, much); };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetOfX);
    while (rig.observer.errors.empty()) co_await asio::post(rig.io, asio::use_awaitable);
  });
  EXPECT_EQ(rig.count(Counter::LimitIdleTimeout), 1U);
  EXPECT_EQ(rig.observer.errors, std::vector<std::string>{"client_gone"});
}

}  // namespace
}  // namespace tapdeck::server
