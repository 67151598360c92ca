#include <gmock/gmock.h>

#include "daemon/server/session_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using exchange::BodyPiece;
using exchange::Exchange;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kGetA = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(Session, KeepsTheConnectionForTheNextRequest) {
  Rig rig;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA);
    auto first = co_await rig.client->read_until("]");
    EXPECT_EQ(first, ok("GET /a []"));
    co_await rig.client->send("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    auto second = co_await rig.client->read_until("]");
    EXPECT_EQ(second, ok("POST /b [abc]"));
    rig.client->half_close();
    auto rest = co_await rig.client->rest();
    EXPECT_EQ(rest, "<EOF>");
  });
  EXPECT_THAT(rig.observer.errors, ElementsAre("", ""));
}

TEST(Session, PipelinedRequestsAreAnsweredInOrder) {
  Rig rig;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA + "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" +
                              "GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, ok("GET /a []") + ok("POST /b [hi]") + ok("GET /c []") + "<EOF>");
  });
  EXPECT_THAT(rig.handler.targets, ElementsAre("/a", "/b", "/c"));
}

TEST(Session, AHalfClosedClientIsStillAnswered) {
  Rig rig;
  net::Signal go(rig.io.get_executor());
  bool seen_end = false;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    while (!seen_end) co_await go.wait();
    co_return co_await answer(exchange, 200, "late");
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA);
    rig.client->half_close();
    for (int turn = 0; turn < 20; ++turn) co_await asio::post(rig.io, asio::use_awaitable);
    seen_end = true;
    go.notify();
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, ok("late") + "<EOF>");
  });
}

TEST(Session, AResetClientCancelsTheWaitingHandler) {
  Rig rig;
  net::Signal never(rig.io.get_executor());
  net::Signal begun(rig.io.get_executor());
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    begun.notify();
    co_await never.wait();
    auto late = co_await answer(exchange, 200, "nobody reads this");
    EXPECT_FALSE(late);
    co_return late;
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA);
    while (rig.handler.running == 0) co_await begun.wait();
    rig.client->reset();
  });
  EXPECT_EQ(rig.handler.running, 0);
  EXPECT_THAT(rig.observer.errors, ElementsAre("client_gone"));
}

// The worker's last word at shutdown. Nothing else would wake this handler: the session reads no more.
TEST(Session, AbortEndsAHandlerWhoseClientHasHalfClosed) {
  Rig rig;
  net::Signal never(rig.io.get_executor());
  net::Signal begun(rig.io.get_executor());
  rig.handler.body = [&](Exchange&) -> net::Task<Result<void>> {
    begun.notify();
    co_await never.wait();
    co_return fail(Code::Cancelled, "stopped", Origin::Internal);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA);
    rig.client->half_close();
    while (rig.handler.running == 0) co_await begun.wait();
    for (int turn = 0; turn < 50; ++turn) co_await asio::post(rig.io, asio::use_awaitable);
    rig.session->abort();
  });
  EXPECT_EQ(rig.handler.running, 0);
}

TEST(Session, AMalformedRequestGets400AndNeverReachesTheHandler) {
  Rig rig;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + kGetA);
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 400 Bad Request\r\n"));
    EXPECT_THAT(all, HasSubstr("\"error\":\"bad_request\""));
    rig.client->close();
  });
  EXPECT_TRUE(rig.handler.targets.empty());
  EXPECT_EQ(rig.count(Counter::SmugglingRefused), 1U);
}

TEST(Session, ARequestThatIsOnlyWrongIsNoSmuggling) {
  for (const std::string bytes :
       {"GET / HTTP/3.1\r\nHost: x\r\n\r\n", "GET /a HTTP/1.1\r\n\r\n", "GET /\r\n\r\n",
        "GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"}) {
    Rig rig;
    rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
      auto body = co_await read_all(exchange);
      co_return co_await exchange::respond_failure(exchange, body.error());
    };
    rig.run([&]() -> net::Task<> {
      co_await rig.client->send(bytes);
      rig.client->half_close();
      auto all = co_await rig.client->rest();
      EXPECT_THAT(all, StartsWith("HTTP/1.1 400 ")) << bytes;
      rig.client->close();
    });
    EXPECT_EQ(rig.observer.refusals.size(), 1U) << bytes;
    EXPECT_EQ(rig.count(Counter::SmugglingRefused), 0U) << bytes;
  }
}

TEST(Session, AnUnknownMethodGets501) {
  Rig rig;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("FROBNICATE /a HTTP/1.1\r\nHost: x\r\n\r\n");
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 501 Not Implemented\r\n"));
    rig.client->close();
  });
  EXPECT_TRUE(rig.handler.targets.empty());
  EXPECT_EQ(rig.count(Counter::UnknownMethod), 1U);
}

TEST(Session, ABadChunkFailsTheBodyForTheHandlerThatReadsIt) {
  Rig rig;
  std::string failure;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    auto body = co_await read_all(exchange);
    EXPECT_FALSE(body);
    failure = to_string(body.error().code);
    co_return co_await answer(exchange, 400, "bad");
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc");
    while (rig.handler.running == 0) co_await asio::post(rig.io, asio::use_awaitable);
    co_await rig.client->send("X\r\n");
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 400 OK\r\n"));
    EXPECT_THAT(all, HasSubstr("Connection: close"));
    rig.client->close();
  });
  EXPECT_EQ(failure, to_string(Code::Protocol));
}

TEST(Session, AHalfCloseInsideABodyIsATruncatedRequest) {
  Rig rig;
  std::string failure;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    auto body = co_await read_all(exchange);
    EXPECT_FALSE(body);
    if (!body) failure = to_string(body.error().code);
    co_return co_await answer(exchange, 400, "short");
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, HasSubstr("short"));
  });
  EXPECT_EQ(failure, to_string(Code::Truncated));
}

TEST(Session, AHandlerThatAnswersNothingResetsTheConnection) {
  Rig rig;
  rig.handler.body = [](Exchange&) -> net::Task<Result<void>> { co_return Result<void>{}; };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA);
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, "<RST>");
  });
}

TEST(Session, AHalfWrittenResponseIsBrokenOff) {
  Rig rig;
  rig.handler.body = [](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead head;
    head.status = 200;
    head.headers.add("Content-Length", "10");
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    const BodyPiece piece{"abc", std::nullopt, false};
    CO_TRY_VOID(co_await exchange.write_body(piece));
    co_return fail(Code::Reset, "the origin went away", Origin::Upstream);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA);
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, testing::EndsWith("<RST>"));
  });
  EXPECT_THAT(rig.observer.errors, ElementsAre("upstream_reset"));
}

TEST(Session, DrainEndsAnIdleConnectionAtOnce) {
  Rig rig;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA);
    auto first = co_await rig.client->read_until("]");
    rig.session->drain();
    auto rest = co_await rig.client->rest();
    EXPECT_EQ(rest, "<EOF>");
    rig.client->close();
  });
}

TEST(Session, DrainLetsTheOpenExchangeFinishAndSaysClose) {
  Rig rig;
  net::Signal go(rig.io.get_executor());
  bool drained = false;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    while (!drained) co_await go.wait();
    co_return co_await answer(exchange, 200, "done");
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kGetA);
    while (rig.handler.running == 0) co_await asio::post(rig.io, asio::use_awaitable);
    rig.session->drain();
    drained = true;
    go.notify();
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone<EOF>");
    rig.client->close();
  });
}

// Switches protocols, then sends every byte back in upper case and ends its side when the client ends its own.
net::Task<Result<void>> upper_pipe(Exchange& exchange) {
  http::ResponseHead head;
  head.status = 101;
  head.reason = "Switching Protocols";
  head.headers.add("Connection", "Upgrade");
  head.headers.add("Upgrade", "upper");
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  exchange.become_tunnel();
  bool end = false;
  while (!end) {
    CO_TRY(piece, co_await exchange.read_body());
    std::string bytes(piece.bytes);
    for (char& c : bytes) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const BodyPiece back{bytes, std::nullopt, false};
    CO_TRY_VOID(co_await exchange.write_body(back));
    CO_TRY_VOID(co_await exchange.flush());
    end = piece.end;
  }
  co_return exchange.end({});
}

const std::string kUpgrade = "GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: upper\r\n\r\n";
const std::string kSwitched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: upper\r\n\r\n";

TEST(Session, AnUpgradedConnectionIsABytePipeWithHalfCloseBothWays) {
  Rig rig;
  rig.handler.body = upper_pipe;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kUpgrade);
    auto head = co_await rig.client->read_until("\r\n\r\n");
    EXPECT_EQ(head, kSwitched);
    co_await rig.client->send("not http\r\n\r\n");
    auto back = co_await rig.client->read_until("HTTP\r\n\r\n");
    EXPECT_EQ(back, "NOT HTTP\r\n\r\n");
    co_await rig.client->send("last");
    rig.client->half_close();
    auto rest = co_await rig.client->rest();
    EXPECT_EQ(rest, "LAST<EOF>");
  });
}

TEST(Session, BytesAndEndSentBehindTheUpgradeRequestBelongToThePipe) {
  Rig rig;
  rig.handler.body = upper_pipe;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kUpgrade + "early");
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, kSwitched + "EARLY<EOF>");
  });
}

TEST(Session, AnUpgradeAnsweredAfterTheClientHalfClosedStillEnds) {
  Rig rig;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    for (int turn = 0; turn < 50; ++turn) co_await asio::post(rig.io, asio::use_awaitable);
    co_return co_await upper_pipe(exchange);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kUpgrade);
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, kSwitched + "<EOF>");
  });
}

TEST(Session, Expect100ContinueIsPassedBeforeTheBodyComes) {
  Rig rig;
  rig.handler.body = [](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead go_on;
    go_on.status = 100;
    go_on.reason = "Continue";
    CO_TRY_VOID(exchange.inform(go_on));
    CO_TRY_VOID(co_await exchange.flush());
    co_return co_await echo(exchange);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    auto go_on = co_await rig.client->read_until("\r\n\r\n");
    EXPECT_EQ(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    co_await rig.client->send("abc");
    auto final = co_await rig.client->read_until("]");
    EXPECT_EQ(final, ok("POST /a [abc]"));
    rig.client->close();
  });
}

TEST(Session, AnAnswerBeforeTheWholeBodyIsDeliveredAndTheConnectionEnds) {
  Rig rig;
  rig.handler.body = [](Exchange& exchange) { return answer(exchange, 405, "no"); };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc");
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, HasSubstr("HTTP/1.1 405 "));
    EXPECT_THAT(all, testing::EndsWith("no<EOF>"));
    co_await rig.client->send(std::string(50000, 'b'));  // what is still on its way costs the answer nothing
    rig.client->close();
  });
}

TEST(Session, AHandlerThatThrowsEndsItsConnection) {
  Rig rig;
  rig.handler.body = [](Exchange& exchange) -> net::Task<Result<void>> {
    auto body = co_await exchange.read_body();
    if (body) throw std::bad_alloc();
    co_return Result<void>{};
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, "<RST>");
  });
  EXPECT_THAT(rig.observer.errors, testing::ElementsAre("internal"));
  rig.handler.running = 0;
}

}  // namespace
}  // namespace tapdeck::server
