// Requests in chunked coding: what is malformed in what came with the head reaches nobody, what comes later ends what
// has begun; extensions go on as they came.
#include <gmock/gmock.h>

#include "daemon/server/session_rig.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using exchange::Exchange;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const std::string kChunkedPost = "POST /a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n";

std::vector<std::string> bad_chunked_bodies() {
  return {"zz\r\n",
          "-1\r\n",
          "0x3\r\nabc\r\n",
          "3 \r\nabc\r\n0\r\n\r\n",
          "3;a=\r\nabc\r\n0\r\n\r\n",
          "3\nabc\r\n0\r\n\r\n",
          "3\r\nabcX\r\n0\r\n\r\n",
          "3\r\nabc\r\n3\r\nabcdef\r\n0\r\n\r\n",
          "3\r\nabc\r\n1;" + std::string(2000, 'x') + "\r\n",
          "3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
          "3\r\nabc\r\n0\r\nBad Name: x\r\n\r\n"};
}

TEST(ChunkedRequest, MalformedInWhatCameWithItsHeadReachesNoHandler) {
  for (const std::string& body : bad_chunked_bodies()) {
    Rig rig;
    rig.handler.at_once = [](Exchange&) {
      ADD_FAILURE() << "asked for an answer";
      return exchange::Served::No;
    };
    rig.run([&]() -> net::Task<> {
      co_await rig.client->send(kChunkedPost + body);
      auto all = co_await rig.client->rest();
      EXPECT_THAT(all, AllOf(StartsWith("HTTP/1.1 400 Bad Request\r\n"), HasSubstr("\"error\":\"bad_request\""),
                             EndsWith("<EOF>")))
          << body;
      rig.client->close();
    });
    EXPECT_THAT(rig.handler.targets, IsEmpty()) << body;
    EXPECT_THAT(rig.observer.errors, IsEmpty()) << body;
    EXPECT_EQ(rig.observer.refusals.size(), 1U) << body;
  }
}

TEST(ChunkedRequest, MalformedInWhatCameWithItsHeadDialsNobody) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  for (const Mode mode : {Mode::Record, Mode::Hybrid, Mode::Passthrough}) {
    rig.set_mode(mode);
    for (const std::string& body : bad_chunked_bodies()) {
      EXPECT_THAT(rig.ask(kChunkedPost + body), StartsWith("HTTP/1.1 400 ")) << body;
    }
  }
  EXPECT_EQ(rig.sockets.made, 0);
}

TEST(ChunkedRequest, IsLookedAtBehindAnotherToo) {
  Rig rig;
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n" + kChunkedPost + "3\r\nabc\r\n0\r\n\r\n" +
                              kChunkedPost + "z\r\n");
    auto all = co_await rig.client->rest();
    EXPECT_THAT(all, StartsWith(ok("GET /b []") + ok("POST /a [abc]") + "HTTP/1.1 400 "));
    rig.client->close();
  });
  EXPECT_THAT(rig.handler.targets, ElementsAre("/b", "/a"));
}

TEST(ChunkedRequest, WhoseAnswersAreAtHandIsAnsweredInOrder) {
  Rig rig;
  rig.handler.at_once = [](Exchange& exchange) {
    http::ResponseHead head;
    head.status = 200;
    head.reason = exchange.request().target;
    EXPECT_TRUE(exchange.respond(head, http::EndStream::Yes));
    return exchange::Served::Yes;
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kChunkedPost + "3\r\nabc\r\n0\r\n\r\n" + "GET /b HTTP/1.1\r\nHost: x\r\n\r\n" +
                              kChunkedPost + "0\r\n\r\n");
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    const std::string of_a = "HTTP/1.1 200 /a\r\nContent-Length: 0\r\n\r\n";
    EXPECT_EQ(all, of_a + "HTTP/1.1 200 /b\r\nContent-Length: 0\r\n\r\n" + of_a + "<EOF>");
  });
}

TEST(ChunkedRequest, IsStreamedToAHandlerThatWantsIt) {
  Rig rig;
  rig.handler.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    CO_TRY(first, co_await exchange.read_body());
    EXPECT_EQ(first.bytes, "abc");
    EXPECT_FALSE(first.end);
    http::ResponseHead go_on;
    go_on.status = 102;
    CO_TRY_VOID(exchange.inform(go_on));
    CO_TRY_VOID(co_await exchange.flush());
    co_return co_await echo(exchange);
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(kChunkedPost + "3\r\nabc\r\n");
    auto told = co_await rig.client->read_until("\r\n\r\n");
    EXPECT_THAT(told, StartsWith("HTTP/1.1 102 "));
    co_await rig.client->send("2\r\nde\r\n0\r\n\r\n");
    auto answer = co_await rig.client->read_until("]");
    EXPECT_EQ(answer, ok("POST /a [de]"));
    rig.client->close();
  });
}

TEST(ChunkedRequest, IsInvitedBeforeAnyOfItComes) {
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
    co_await rig.client->send(
        "POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    auto go_on = co_await rig.client->read_until("\r\n\r\n");
    EXPECT_EQ(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    co_await rig.client->send("3\r\nabc\r\n0\r\n\r\n");
    auto answer = co_await rig.client->read_until("]");
    EXPECT_EQ(answer, ok("POST /a [abc]"));
    rig.client->close();
  });
}

// Of a body that turns bad behind what came with its head, the origin has that and never its end.
TEST(ChunkedRequest, MalformedLaterIsNeverWholeAtTheOrigin) {
  WorkerRig rig;
  std::string seen;
  ScriptedOrigin origin([&](Wire& wire) {
    seen = wire.rest();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kChunkedPost + "3\r\nabc\r\n"));
  EXPECT_TRUE(eventually([&] { return origin.connections() == 1; }));
  EXPECT_TRUE(wire.write("zz\r\n"));
  EXPECT_THAT(wire.read_until("}\n"), StartsWith("HTTP/1.1 400 "));
  wire.close();
  origin.stop();
  EXPECT_THAT(seen, StartsWith("POST /a HTTP/1.1\r\n"));
  EXPECT_EQ(seen.find("\r\n0\r\n"), std::string::npos) << seen;
}

TEST(ChunkedRequest, ItsExtensionsReachTheOriginThoseOfTheLastChunkToo) {
  const std::string body = "3;a=b\r\nabc\r\n0;last;c=\"d\"\r\nX-T: 1\r\n\r\n";
  for (const Mode mode : {Mode::Record, Mode::Hybrid, Mode::Passthrough}) {
    WorkerRig rig;
    rig.set_mode(mode);
    std::string seen;
    ScriptedOrigin origin([&](Wire& wire) {
      seen = wire.read_until("X-T: 1\r\n\r\n");
      wire.write(with_length("got it"));
      return ScriptedOrigin::End::Close;
    });
    rig.go_to(origin.endpoint());
    EXPECT_EQ(rig.ask(kChunkedPost + body), with_length("got it") + "<EOF>");
    origin.stop();
    EXPECT_EQ(seen, kChunkedPost + body);
    if (mode == Mode::Passthrough) continue;
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
    const auto listed = tls::testing::must(rig.store->list_recordings({}));
    const auto recording = tls::testing::must(rig.store->get(listed.items.front().id));
    EXPECT_EQ(recording.request_body.timeline.back().extension, ";last;c=\"d\"");
    EXPECT_EQ(recording.request_body.timeline.back().offset, 3U);
  }
}

}  // namespace
}  // namespace tapdeck::server
