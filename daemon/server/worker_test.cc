// Record with the origin, replay without it: what a client gets is the same, byte for byte.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::string get(const std::string& target, const std::string& fields = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: api.test\r\n" + fields + "\r\n";
}
std::string post(const std::string& target, const std::string& body) {
  return "POST " + target + " HTTP/1.1\r\nHost: api.test\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

struct Shape {
  const char* name;
  std::string request;
  std::string response;  // of the origin; "<FIN>" behind it: the connection's end is its end
};

// For messages of failing tests.
void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.name;
}

std::vector<Shape> shapes() {
  return {
      {"ContentLength", get("/a"),
       "HTTP/1.1 200 Fine\r\nX-Case: Kept\r\nx-case: twice\r\nContent-Length: 5\r\n\r\nhello"},
      {"ChunkedWithExtensionsAndTrailers", get("/a"),
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Check\r\n\r\n"
       "3;a=b\r\nabc\r\n4\r\ndefg\r\n0\r\nCheck: sum\r\n\r\n"},
      {"OneChunk", get("/a"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
      {"ExtensionOfTheLastChunk", get("/a"),
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0;last=\"x\"\r\nCheck: sum\r\n\r\n"},
      {"EmptyChunked", get("/a"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"CloseDelimited", get("/a"), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end<FIN>"},
      {"Head", "HEAD /a HTTP/1.1\r\nHost: api.test\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
      {"NoContent", get("/a"), "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"},
      {"NotModified", get("/a", "If-None-Match: \"e\"\r\n"),
       "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 500\r\n\r\n"},
      {"EarlyHints", get("/a"),
       "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
      {"EmptyReason", get("/a"), "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"},
      {"Big", get("/a"), with_length(std::string(5 << 20, 'B') + "end")},
  };
}

class RecordThenReplay : public testing::TestWithParam<std::tuple<Shape, bool>> {};

TEST_P(RecordThenReplay, GivesTheSameBytesWithoutTheOrigin) {
  const auto& [shape, over_tls] = GetParam();
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(http_origin([&](const std::string&) { return shape.response; }),
                        over_tls ? context.get() : nullptr);
  rig.go_to(origin.endpoint());
  std::string expected = shape.response;
  if (expected.ends_with("<FIN>")) expected.resize(expected.size() - 5);

  const std::string recorded = rig.ask(shape.request, over_tls);
  EXPECT_TRUE(recorded == expected + "<EOF>") << recorded.substr(0, 600);
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (int turn = 0; turn < 2; ++turn) {  // from disk, then from memory
    const std::string replayed = rig.ask(shape.request, over_tls);
    EXPECT_TRUE(replayed == expected + "<EOF>") << replayed.substr(0, 600);
  }
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 2; }));
  EXPECT_EQ(rig.sockets.made, static_cast<int>(origin.connections())) << "replay dials nobody";
}

INSTANTIATE_TEST_SUITE_P(Shapes, RecordThenReplay, testing::Combine(testing::ValuesIn(shapes()), testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) +
                                  (std::get<1>(info.param) ? "Tls" : "Clear");
                         });

TEST(Worker, ReplaysRepeatsInOrderAndThenTheLastOne) {
  WorkerRig rig;
  int served = 0;
  ScriptedOrigin origin(http_origin([&](const std::string&) { return with_length(std::to_string(++served)); }));
  rig.go_to(origin.endpoint());
  for (const char* body : {"1", "2", "3"}) EXPECT_EQ(rig.ask(get("/n")), with_length(body) + "<EOF>");
  origin.stop();
  rig.set_mode(Mode::Replay);
  Wire wire = rig.connect();  // one connection, pipelined
  wire.write(get("/n") + get("/n") + get("/n") + get("/n") + get("/n"));
  wire.half_close();
  EXPECT_EQ(wire.rest(),
            with_length("1") + with_length("2") + with_length("3") + with_length("3") + with_length("3") + "<EOF>");
}

// The first answer of a key is read from the store by the reader thread; what is served "now" can, by its type, wait
// for neither (Handler::serve_now).
TEST(Worker, OnlyTheFirstReplayOfARequestGoesToTheStore) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(get("/hot")), with_length("x") + "<EOF>");
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(rig.ask(get("/hot")), with_length("x") + "<EOF>");
  EXPECT_EQ(rig.count(Counter::HotCacheMiss), 1U);
  EXPECT_EQ(rig.count(Counter::HotCacheHit), 4U);
}

TEST(Worker, ReplayTellsRequestsApartByTheirBody) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin(
      [](const std::string& request) { return with_length("to " + request.substr(request.find("\r\n\r\n") + 4)); }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(post("/p", "one")), with_length("to one") + "<EOF>");
  EXPECT_EQ(rig.ask(post("/p", "two")), with_length("to two") + "<EOF>");
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(post("/p", "two")), with_length("to two") + "<EOF>");
  const std::string chunked =
      "POST /p HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n2\r\nne\r\n0\r\n\r\n";
  EXPECT_EQ(rig.ask(chunked), with_length("to one") + "<EOF>") << "framing is not content";
  EXPECT_THAT(rig.ask(post("/p", "three")), HasSubstr("not_recorded"));
  EXPECT_EQ(rig.count(Counter::MissBody), 1U);
  EXPECT_EQ(rig.count_of_target(Counter::MissBody), 1U);
}

TEST(Worker, AMissNamesTheNearestRecordingAndWhatDiffers) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(get("/items?page=1")), with_length("x") + "<EOF>");
  rig.set_mode(Mode::Replay);
  const std::string miss = rig.ask(get("/items?page=2"));
  EXPECT_THAT(miss, StartsWith("HTTP/1.1 502 Bad Gateway\r\n"));
  EXPECT_THAT(miss, HasSubstr("\"error\":\"not_recorded\",\"session\":\"default\",\"route\":\"default\",\"key\":\""));
  EXPECT_THAT(miss, HasSubstr("\"request\":{\"method\":\"GET\",\"url\":\"http://api.test:"));
  EXPECT_THAT(miss, HasSubstr("\"differs\":[{\"where\":\"query\",\"recorded\":\"page=1\",\"requested\":\"page=2\"}]"));
  EXPECT_THAT(miss, HasSubstr("\"hint\":\""));
  EXPECT_EQ(rig.count(Counter::MissNoKey), 1U);
  EXPECT_EQ(origin.connections(), 1U);
}

TEST(Worker, ANewTakeReplacesTheOldOneForTheSameRequest) {
  WorkerRig rig;
  std::string body = "old";
  ScriptedOrigin origin(http_origin([&](const std::string&) { return with_length(body); }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(get("/v")), with_length("old") + "<EOF>");
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(get("/v")), with_length("old") + "<EOF>");
  rig.set_mode(Mode::Record);
  body = "new";
  EXPECT_EQ(rig.ask(get("/v")), with_length("new") + "<EOF>");
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(get("/v")), with_length("new") + "<EOF>");
}

TEST(Worker, HybridForwardsOnceAndAnswersFromTheTapeAfterwards) {
  RigOptions options;
  options.mode = Mode::Hybrid;
  WorkerRig rig(std::move(options));
  int served = 0;
  ScriptedOrigin origin(http_origin([&](const std::string&) { return with_length(std::to_string(++served)); }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(post("/h", "body")), with_length("1") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Hybrid, Outcome::Recorded) == 1; }));
  EXPECT_EQ(rig.ask(post("/h", "body")), with_length("1") + "<EOF>");
  EXPECT_EQ(rig.ask(post("/h", "other")), with_length("2") + "<EOF>");
  origin.stop();
  EXPECT_EQ(rig.ask(post("/h", "other")), with_length("2") + "<EOF>");
  EXPECT_EQ(served, 2);
}

TEST(Worker, PassthroughStoresNothing) {
  RigOptions options;
  options.mode = Mode::Passthrough;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("through"); }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(get("/a")), with_length("through") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Passthrough, Outcome::Forwarded) == 1; }));
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
}

TEST(Worker, ABrokenOffResponseIsReplayedBrokenOffAtTheSameByte) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin(
      [](const std::string&) { return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd<FIN>"); }));
  rig.go_to(origin.endpoint());
  const std::string cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd";
  Wire wire = rig.connect();
  wire.write(get("/cut"));
  EXPECT_EQ(wire.read_n(cut.size()), cut);
  EXPECT_EQ(wire.rest(), "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  Wire again = rig.connect();
  again.write(get("/cut"));
  EXPECT_EQ(again.read_n(cut.size()), cut);
  EXPECT_EQ(again.rest(), "<EOF>");
}

TEST(Worker, AnUpgradedConnectionPassesAsBytes) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nhello ");
    const std::string all = wire.rest();
    wire.write("got " + all);
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(get("/up", "Connection: Upgrade\r\nUpgrade: raw\r\n"));
  EXPECT_THAT(wire.read_until("hello "), StartsWith("HTTP/1.1 101 "));
  wire.write("raw bytes");
  wire.half_close();
  EXPECT_EQ(wire.rest(), "got raw bytes<EOF><EOF>");
  EXPECT_EQ(rig.count(Counter::TunnelledUpgrade), 1U);
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Forwarded) == 1; }));
  EXPECT_EQ(rig.count(Counter::TunnelledBytesUp), 9U);
  EXPECT_EQ(rig.count(Counter::TunnelledBytesDown), 24U);
  EXPECT_EQ(rig.count(Counter::BytesUp) + rig.count(Counter::BytesDown), 0U) << "they are no body";
}

TEST(Worker, DrainFinishesWhatIsOpenAndThenSaysSo) {
  WorkerRig rig;
  std::atomic<bool> go{false};
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    EXPECT_TRUE(eventually([&] { return go.load(); }));
    return with_length("slow");
  }));
  rig.go_to(origin.endpoint());
  Wire idle = rig.connect();
  Wire busy = rig.connect();
  busy.write(get("/slow"));
  EXPECT_TRUE(eventually([&] { return origin.connections() == 1; }));
  rig.worker->drain();
  EXPECT_EQ(idle.rest(), "<EOF>");
  EXPECT_FALSE(rig.worker->is_drained());
  go = true;
  EXPECT_THAT(busy.rest(), EndsWith("slow<EOF>"));
  busy.close();
  EXPECT_TRUE(eventually([&] { return rig.worker->is_drained(); }));
}

}  // namespace
}  // namespace tapdeck::server
