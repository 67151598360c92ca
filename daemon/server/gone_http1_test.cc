// Clients of HTTP/1 whose side has ended before their answer came: gone, which is recorded and repeated in replay, or
// half-closed, which are answered.
#include <gmock/gmock.h>

#include <atomic>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kAsk = "GET /late HTTP/1.1\r\nHost: api.test\r\n\r\n";
const std::string kEmpty = "HTTP/1.1 204 No Content\r\nX-Id: 1\r\n\r\n";
const std::string kChunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n0\r\n\r\n";

struct Case {
  const char* name;
  bool over_tls;
  std::string answer;  // "<FIN>": the origin ends without one
};

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.name;
}

// An origin that answers at a word of the test.
class GoneHttp1 : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().over_tls) context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
    origin.emplace(http_origin([this](const std::string&) {
                     ++asked;
                     EXPECT_TRUE(eventually([this] { return go.load(); }));
                     return GetParam().answer;
                   }),
                   context.get());
    rig.go_to(origin->endpoint());
  }
  Wire ask() {
    Wire wire = GetParam().over_tls ? rig.connect_tls() : rig.connect();
    EXPECT_TRUE(wire.write(kAsk));
    return wire;
  }
  // A FIN has no answer to wait for: what comes behind it has.
  void let_end_be_seen() { EXPECT_THAT(rig.ask("GET / HTTP/1.1\r\n\r\n"), HasSubstr(" 400 ")); }
  [[nodiscard]] store::Recording only_recording() {
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
    const auto page = tls::testing::must(rig.store->list_recordings({}));
    return page.items.empty() ? store::Recording{} : page.items.front();
  }
  void expect_given_up() {
    const store::Recording kept = only_recording();
    EXPECT_EQ(kept.outcome.kind, store::Outcome::Kind::Incomplete);
    EXPECT_EQ(kept.outcome.reason, "client_gone");
    EXPECT_EQ(kept.response.status, 0);
    EXPECT_EQ(rig.count(Counter::RecordingComplete) + rig.count(Counter::RecordingFailed), 0U);
  }

  SslContext context;
  std::atomic<bool> go{false};
  std::atomic<int> asked{0};
  WorkerRig rig;
  std::optional<ScriptedOrigin> origin;
};

INSTANTIATE_TEST_SUITE_P(, GoneHttp1,
                         testing::Values(Case{"Body", false, with_length("late")}, Case{"NoBody", false, kEmpty},
                                         Case{"Chunked", false, kChunked}, Case{"OverTls", true, with_length("late")},
                                         Case{"NoBodyOverTls", true, kEmpty}, Case{"Failure", false, "<FIN>"}),
                         [](const auto& info) { return info.param.name; });

TEST_P(GoneHttp1, WhoClosedBeforeTheAnswerHasGivenItUpAndDoesSoAgainInReplay) {
  Wire wire = ask();
  EXPECT_TRUE(eventually([&] { return asked == 1; }));
  wire.close();
  let_end_be_seen();
  go = true;
  expect_given_up();
  origin->stop();
  rig.set_mode(Mode::Replay);
  Wire again = ask();
  again.close();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 1; }));
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
}

TEST_P(GoneHttp1, WhoOnlyHalfClosedIsAnswered) {
  Wire wire = ask();
  wire.half_close();
  let_end_be_seen();
  go = true;
  const bool fails = GetParam().answer == "<FIN>";
  const std::string seen = wire.rest();
  EXPECT_THAT(seen, fails ? HasSubstr("\"error\":\"upstream_truncated\"") : HasSubstr(GetParam().answer + "<EOF>"));
  const auto kind = fails ? store::Outcome::Kind::Failed : store::Outcome::Kind::Complete;
  EXPECT_EQ(only_recording().outcome.kind, kind);
  origin->stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(kAsk, GetParam().over_tls), seen);
}

TEST_P(GoneHttp1, WhoResetItsConnectionHasGivenUp) {
  Wire wire = ask();
  EXPECT_TRUE(eventually([&] { return asked == 1; }));
  wire.reset();
  expect_given_up();
  go = true;
}

TEST_P(GoneHttp1, WhoClosedIsNotWaitedForWhenNoClientLives) {
  Wire wire = ask();
  EXPECT_TRUE(eventually([&] { return asked == 1; }));
  wire.close();
  let_end_be_seen();
  rig.worker->drain();
  rig.worker->drop_left();
  EXPECT_TRUE(eventually([&] { return rig.worker->is_drained(); }));
  expect_given_up();
  go = true;
}

// One whose end is said by TLS before its answer is there.
class GoneOverTls : public testing::Test {
 protected:
  GoneOverTls() { rig.go_to(origin.endpoint()); }
  Wire ask_and_end() {
    Wire wire = rig.connect_tls();
    EXPECT_TRUE(wire.write(kAsk));
    EXPECT_TRUE(eventually([&] { return origin.connections() == 1; }));
    SSL_shutdown(wire.ssl());
    EXPECT_THAT(rig.ask("GET / HTTP/1.1\r\n\r\n"), HasSubstr(" 400 ")) << "its end is seen";
    return wire;
  }
  std::atomic<bool> go{false};
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin{http_origin([this](const std::string&) {
                          EXPECT_TRUE(eventually([&] { return go.load(); }));
                          return with_length("late");
                        }),
                        context.get()};
};

// As asyncio does: it waits for our word, and closes when there is more data instead.
TEST_F(GoneOverTls, WhoEndedByTlsAloneAndClosesAtTheAnswerHasGivenItUp) {
  Wire wire = ask_and_end();
  const auto ended = exchange::Clock::now();
  EXPECT_TRUE(eventually([&] { return exchange::Clock::now() - ended > std::chrono::milliseconds(100); }));
  go = true;
  EXPECT_THAT(wire.read_some(), StartsWith("HTTP/1.1 200"));
  ::shutdown(wire.fd(), SHUT_RDWR);
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  const auto page = tls::testing::must(rig.store->list_recordings({}));
  EXPECT_EQ(page.items.front().outcome.reason, "client_gone");
  EXPECT_EQ(page.items.front().response.status, 0);
}

// Its FIN is on its way when the answer comes.
TEST_F(GoneOverTls, WhoEndsItsSideByTlsAndThenByItsFinIsAnswered) {
  Wire wire = ask_and_end();
  go = true;
  const std::string begun = wire.read_some();
  ::shutdown(wire.fd(), SHUT_WR);
  EXPECT_THAT(begun + wire.rest(), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("late")));
}

// One whose side has ended behind two requests, each answered at a word of the test.
class GonePipelined : public testing::Test {
 protected:
  explicit GonePipelined(RigOptions options = {})
      : rig(std::move(options)), origin(http_origin([this](const std::string& request) -> std::string {
          const int number = ++asked;
          EXPECT_TRUE(eventually([&] { return allowed >= number; }));
          return request.contains("/none") ? kEmpty : with_length("late");
        })) {
    rig.go_to(origin.endpoint());
  }
  Wire ask(const std::string& requests) {
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.write(requests));
    wire.half_close();
    EXPECT_THAT(rig.ask("GET / HTTP/1.1\r\n\r\n"), HasSubstr(" 400 ")) << "its end is seen";
    return wire;
  }
  static inline const std::string kAskNone = "GET /none HTTP/1.1\r\nHost: api.test\r\n\r\n";
  std::atomic<int> asked{0};
  std::atomic<int> allowed{0};
  WorkerRig rig;
  ScriptedOrigin origin;
};

TEST_F(GonePipelined, WhoLeavesBehindTheFirstAnswerHasGivenUpTheSecond) {
  Wire wire = ask(kAsk + kAsk);
  allowed = 1;
  EXPECT_THAT(wire.read_until("late"), EndsWith("late"));
  wire.close();
  EXPECT_TRUE(eventually([&] { return asked == 2; }));
  allowed = 2;
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  std::vector<int> answers;
  for (const store::Recording& recording : tls::testing::must(rig.store->list_recordings({})).items)
    answers.push_back(recording.response.status);
  EXPECT_THAT(answers, testing::UnorderedElementsAre(0, 200));
}

TEST_F(GonePipelined, WhoStillReadsIsAnsweredInOrder) {
  allowed = 2;
  EXPECT_EQ(ask(kAskNone + kAsk).rest(), kEmpty + with_length("late") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  EXPECT_EQ(rig.count(Counter::RecordingComplete), 2U);
}

class GonePipelinedUnsafe : public GonePipelined {
 protected:
  GonePipelinedUnsafe() : GonePipelined(without_patience()) {}
  static RigOptions without_patience() {
    RigOptions options;
    options.config.storage.hold_limit = std::chrono::milliseconds(0);
    return options;
  }
};

TEST_F(GonePipelinedUnsafe, NoAnswerIsWholeBeforeItIsSafe) {
  rig.set_mode(Mode::Record, {}, modes::Strict::Yes);
  Wire wire = ask(kAskNone + kAsk);
  allowed = 2;
  EXPECT_THAT(wire.rest(), testing::Not(HasSubstr("\r\n\r\n")));
  EXPECT_EQ(asked, 1);
}

// What follows is the same in clear and over TLS.
struct Draining {
  explicit Draining(ScriptedOrigin::Script script) : origin(std::move(script)) {
    rig.go_to(origin.endpoint());
    wire.emplace(rig.connect());
  }
  // The client ends, of which the worker may hear late.
  void end() {
    rig.worker->drain();
    rig.worker->drop_left();
    wire->close();
    EXPECT_TRUE(eventually([&] {
      rig.worker->drop_left();
      return rig.worker->is_drained();
    }));
  }
  WorkerRig rig;
  ScriptedOrigin origin;
  std::optional<Wire> wire;
};

TEST(GoneClients, AQuietResponseIsLeftWhereItIs) {
  Draining drain([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10\r\n\r\none");
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  drain.wire->write(kAsk);
  EXPECT_THAT(drain.wire->read_until("one"), EndsWith("one"));
  drain.end();
  EXPECT_TRUE(eventually([&] { return drain.rig.store->stored_recordings() == 1; }));
  const auto page = tls::testing::must(drain.rig.store->list_recordings({}));
  EXPECT_EQ(page.items.front().outcome.reason, "client_gone");
  EXPECT_EQ(page.items.front().response_body.size, 3U);
}

TEST(GoneClients, ATunnelIsReset) {
  std::atomic<bool> over{false};
  Draining drain([&](Wire& wire) {
    wire.write("220 ready\r\n");
    wire.rest();
    EXPECT_TRUE(eventually([&] { return over.load(); }));
    return ScriptedOrigin::End::Close;
  });
  EXPECT_THAT(drain.wire->read_until("\n"), StartsWith("220"));
  drain.end();
  over = true;
}

TEST(GoneClients, WhoStillReadsIsAnswered) {
  std::atomic<bool> go{false};
  Draining drain(http_origin([&](const std::string&) {
    EXPECT_TRUE(eventually([&] { return go.load(); }));
    return with_length("late");
  }));
  drain.wire->write(kAsk);
  EXPECT_TRUE(eventually([&] { return drain.origin.connections() == 1; }));
  drain.rig.worker->drain();
  drain.rig.worker->drop_left();
  go = true;
  EXPECT_THAT(drain.wire->rest(), EndsWith("late<EOF>"));
  drain.wire->close();
}

}  // namespace
}  // namespace tapdeck::server
