// A Session over a codec of interleaved streams: the signatures of Exchange, Session and Codec carry HTTP/2.
#include <gmock/gmock.h>

#include "daemon/server/fake_codec.h"
#include "daemon/server/session_rig.h"

namespace tapdeck::server {
namespace {

using exchange::BodyPiece;
using exchange::Exchange;
using testing::ElementsAre;

// The frames of one stream, in order.
std::string frames_of(const std::string& all, int stream) {
  std::istringstream lines(all);
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > 1 && line.substr(1, line.find(' ') - 1) == std::to_string(stream)) out += line + '\n';
  }
  return out;
}

net::Task<Result<void>> echo_with_trailers(Exchange& exchange) {
  http::ResponseHead head;
  head.status = 200;
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  bool end = exchange.request_is_bodyless();
  while (!end) {
    CO_TRY(piece, co_await exchange.read_body());
    end = piece.end;
    if (piece.bytes.empty()) continue;
    const BodyPiece back{piece.bytes, std::nullopt, false};
    CO_TRY_VOID(co_await exchange.write_body(back));
  }
  co_return exchange.end(exchange.request_trailers());
}

struct StreamsRig : Rig {
  explicit StreamsRig(size_t window = 1 << 20) : Rig({}, std::make_unique<FakeCodec>(window)) {}
};

TEST(SessionStreams, TwoInterleavedStreamsKeepTheirBodiesAndTrailersApart) {
  StreamsRig rig;
  rig.handler.body = echo_with_trailers;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 POST /a\nH3 POST /b\nD1 one-\nD3 uno-\n");
    auto begun = co_await rig.client->read_until("D3 uno-\n");
    co_await rig.client->send("D1 two\nT1 check a\nE1\nD3 dos\nE3\n");
    rig.client->half_close();
    auto rest = co_await rig.client->rest();
    const std::string all = begun + rest;
    EXPECT_EQ(frames_of(all, 1), "H1 200\nD1 one-\nW1 4\nD1 two\nW1 3\nT1 check a\nE1\n");
    EXPECT_EQ(frames_of(all, 3), "H3 200\nD3 uno-\nW3 4\nD3 dos\nW3 3\nE3\n");
  });
  EXPECT_THAT(rig.handler.targets, ElementsAre("/a", "/b"));
}

TEST(SessionStreams, TheSecondStreamIsAnsweredWhileTheFirstWaits) {
  StreamsRig rig;
  net::Signal go(rig.io.get_executor());
  bool may_answer = false;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    while (exchange.request().target == "/slow" && !may_answer) co_await go.wait();
    co_return co_await answer(exchange, 200, exchange.request().target);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 GET /slow end\nE1\nH3 GET /fast end\nE3\n");
    auto fast = co_await rig.client->read_until("E3\n");
    EXPECT_EQ(fast, "H3 200\nD3 /fast\nE3\n");
    may_answer = true;
    go.notify();
    auto slow = co_await rig.client->read_until("E1\n");
    EXPECT_EQ(slow, "H1 200\nD1 /slow\nE1\n");
    rig.client->close();
  });
}

TEST(SessionStreams, WhatStreamsSayInOneTurnGoesOutInOneWrite) {
  auto owned = std::make_unique<FakeCodec>();
  FakeCodec& codec = *owned;
  Rig rig({}, std::move(owned));
  net::Signal go(rig.io.get_executor());
  bool may_answer = false;
  std::vector<size_t> unwritten;  // after each flush
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    while (!may_answer) co_await go.wait();
    auto answered = co_await answer(exchange, 200, exchange.request().target);
    if (answered) answered = co_await exchange.flush();
    unwritten.push_back(codec.output().size());
    co_return answered;
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 GET /a end\nE1\nH3 GET /b end\nE3\n");
    while (rig.handler.running < 2) co_await asio::post(rig.io, asio::use_awaitable);
    may_answer = true;
    go.notify();
    auto both = co_await rig.client->read_until("E3\n");
    EXPECT_EQ(both, "H1 200\nD1 /a\nE1\nH3 200\nD3 /b\nE3\n");
    EXPECT_TRUE(codec.output().empty());
    rig.client->close();
  });
  const size_t one = std::string_view("H1 200\nD1 /a\nE1\n").size();
  EXPECT_THAT(unwritten, ElementsAre(one, 2 * one));
}

TEST(SessionStreams, TheLastWordOfAConnectionIsWrittenThoughNothingFollows) {
  StreamsRig rig;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 GET /a end\nE1\n");
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, "H1 200\nD1 GET /a []\nE1\nG\n<EOF>");
  });
}

TEST(SessionStreams, AResetStreamFailsAloneAndTheConnectionGoesOn) {
  StreamsRig rig;
  rig.handler.body = echo;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 POST /a\nH3 POST /b\nD1 x\nR1\nD3 y\nE3\n");
    auto answered = co_await rig.client->read_until("E3\n");
    EXPECT_EQ(frames_of(answered, 3), "W3 1\nH3 200\nD3 POST /b [y]\nE3\n");
    co_await rig.client->send("H5 GET /c end\nE5\n");
    auto later = co_await rig.client->read_until("E5\n");
    EXPECT_EQ(frames_of(later, 5), "H5 200\nD5 GET /c []\nE5\n");
    rig.client->close();
  });
  EXPECT_THAT(rig.observer.errors, ElementsAre("client_gone", "", ""));
}

TEST(SessionStreams, AResetOfTheStreamThatWritesForAllLeavesTheConnectionToTheOthers) {
  auto owned = std::make_unique<FakeCodec>(4 << 20);
  FakeCodec& codec = *owned;
  Rig rig({}, std::move(owned), 65536);
  const std::string much(3 << 20, 'm');
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    if (exchange.request().target == "/small") co_return co_await echo(exchange);
    http::ResponseHead head;
    head.status = 200;
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    const BodyPiece piece{much, std::nullopt, false};
    co_return co_await exchange.write_body(piece);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 GET /much end\nE1\n");
    while (codec.output().size() < transport::kWriteHighWater) co_await asio::post(rig.io, asio::use_awaitable);
    co_await rig.client->send("R1\nH3 GET /small end\nE3\n");
    auto all = co_await rig.client->read_until("E3\n");
    EXPECT_TRUE(all.ends_with("\nH3 200\nD3 GET /small []\nE3\n"))
        << all.substr(all.size() - std::min<size_t>(all.size(), 80));
    rig.client->close();
  });
}

TEST(SessionStreams, AHandlerThatResetsItsStreamLeavesTheOthersAlone) {
  StreamsRig rig;
  rig.handler.body = [](Exchange& exchange) -> net::Task<Result<void>> {
    CO_TRY(body, co_await read_all(exchange));
    if (exchange.request().target == "/bad") {
      exchange.reset(http::ResetCode::InternalError);
      co_return Result<void>{};
    }
    co_return co_await answer(exchange, 200, body);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 POST /bad\nH3 POST /good\nE1\n");
    auto reset = co_await rig.client->read_until("R1 2\n");
    EXPECT_EQ(reset, "R1 2\n");
    co_await rig.client->send("D3 fine\nE3\n");
    auto answered = co_await rig.client->read_until("E3\n");
    EXPECT_EQ(answered, "W3 4\nH3 200\nD3 fine\nE3\n");
    rig.client->close();
  });
}

TEST(SessionStreams, AHandlerThatAnswersNothingResetsItsStreamOnly) {
  StreamsRig rig;
  rig.handler.body = [](Exchange& exchange) -> net::Task<Result<void>> {
    if (exchange.request().target == "/mute") co_return Result<void>{};
    co_return co_await echo(exchange);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 POST /b\nH3 GET /mute end\nE3\n");
    auto reset = co_await rig.client->read_until("R3 2\n");
    EXPECT_EQ(reset, "R3 2\n");
    co_await rig.client->send("E1\n");
    auto answered = co_await rig.client->read_until("E1\n");
    EXPECT_EQ(answered, "H1 200\nD1 POST /b []\nE1\n");
    rig.client->close();
  });
}

TEST(SessionStreams, BytesCountAsConsumedOnlyOnceTheHandlerReadThem) {
  StreamsRig rig;
  net::Signal go(rig.io.get_executor());
  bool may_read = false;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead hints;
    hints.status = 103;
    CO_TRY_VOID(exchange.inform(hints));
    CO_TRY_VOID(co_await exchange.flush());
    while (!may_read) co_await go.wait();
    co_return co_await echo(exchange);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 POST /a\nD1 12345\nH3 GET /a end\nE3\n");
    auto before = co_await rig.client->read_until("I3 103\n");
    EXPECT_EQ(before, "I1 103\nI3 103\n") << "no window opens for a body that nobody reads";
    may_read = true;
    go.notify();
    auto opened = co_await rig.client->read_until("W1 5\n");
    co_await rig.client->send("E1\n");
    auto answered = co_await rig.client->read_until("E1\n");
    EXPECT_EQ(frames_of(answered, 1), "H1 200\nD1 POST /a [12345]\nE1\n");
    rig.client->close();
  });
}

TEST(SessionStreams, WhatAFinishedHandlerLeftUnreadOpensTheWindowAgain) {
  StreamsRig rig;
  net::Signal go(rig.io.get_executor());
  bool may_answer = false;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    while (!may_answer) co_await go.wait();
    co_return co_await answer(exchange, 405, "no");
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 POST /a\nD1 12345\n");
    while (rig.handler.running == 0) co_await asio::post(rig.io, asio::use_awaitable);
    may_answer = true;
    go.notify();
    auto answered = co_await rig.client->read_until("W1 5\n");
    EXPECT_EQ(answered, "H1 405\nD1 no\nE1\nW1 5\n");
    co_await rig.client->send("D1 67\nE1\nH3 GET /b end\nE3\n");
    auto next = co_await rig.client->read_until("E3\n");
    EXPECT_EQ(next, "W1 2\nH3 405\nD3 no\nE3\n") << "an unread body ends its stream, not the connection";
    rig.client->close();
  });
}

TEST(SessionStreams, AClosedSendWindowPausesTheWriterAndItsOpeningResumesIt) {
  StreamsRig rig(4);
  rig.handler.body = [](Exchange& exchange) { return answer(exchange, 200, "0123456789"); };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 GET /a end\nE1\n");
    auto first = co_await rig.client->read_until("0123\n");
    EXPECT_EQ(first, "H1 200\nD1 0123\n");
    co_await rig.client->send("W1 4\n");
    auto second = co_await rig.client->read_until("4567\n");
    EXPECT_EQ(second, "D1 4567\n");
    co_await rig.client->send("W1 400\n");
    auto last = co_await rig.client->read_until("E1\n");
    EXPECT_EQ(last, "D1 89\nE1\n");
    rig.client->close();
  });
}

TEST(SessionStreams, AWriterOnAClosedWindowEndsWithItsClient) {
  StreamsRig rig(4);
  rig.handler.body = [](Exchange& exchange) { return answer(exchange, 200, "0123456789"); };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 GET /a end\nE1\n");
    auto first = co_await rig.client->read_until("0123\n");
    rig.client->reset();
  });
  EXPECT_THAT(rig.observer.errors, ElementsAre("client_gone"));
}

TEST(SessionStreams, EndOfStreamComesApartFromData) {
  StreamsRig rig;
  std::vector<std::string> pieces;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    bool end = false;
    while (!end) {
      CO_TRY(piece, co_await exchange.read_body());
      end = piece.end;
      pieces.push_back(std::string(piece.bytes) + (piece.end ? "|end" : ""));
    }
    co_return co_await answer(exchange, 200, "ok");
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 POST /a\nD1 abc\n");
    auto read = co_await rig.client->read_until("W1 3\n");
    EXPECT_EQ(rig.handler.running, 1) << "the data alone ended nothing";
    co_await rig.client->send("E1\n");
    auto answered = co_await rig.client->read_until("E1\n");
    rig.client->close();
  });
  EXPECT_THAT(pieces, ElementsAre("abc", "|end"));
}

TEST(SessionStreams, DrainAnnouncesTheEndAndFinishesOpenStreams) {
  StreamsRig rig;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("H1 POST /a\n");
    while (rig.handler.running == 0) co_await asio::post(rig.io, asio::use_awaitable);
    rig.session->drain();
    auto announced = co_await rig.client->read_until("G\n");
    EXPECT_EQ(announced, "G\n");
    co_await rig.client->send("D1 x\nE1\n");
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all, "W1 1\nH1 200\nD1 POST /a [x]\nE1\n<EOF>");
    rig.client->close();
  });
}

}  // namespace
}  // namespace tapdeck::server
