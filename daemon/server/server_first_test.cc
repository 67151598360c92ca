// Clients that say nothing in replay, where no origin can be heard: what the session knows of the place decides.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"
#include "store/opening.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;

const std::string kAsk = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

ScriptedOrigin::End greet(Wire& wire) {
  wire.write("220 ready\r\n");
  wire.rest();
  return ScriptedOrigin::End::Close;
}

enum class Over { Clear, Tls };

// An origin that greets and one that speaks HTTP, in clear or both in TLS for a client without ALPN.
class ServerFirst : public testing::TestWithParam<Over> {
 protected:
  [[nodiscard]] static RigOptions impatient() {
    RigOptions options;
    options.config.limits.sniff_timeout = 20ms;
    options.config.limits.header_timeout = 60s;
    options.config.limits.idle_timeout = 120s;
    return options;
  }
  void begin(RigOptions options = impatient()) {
    rig.emplace(std::move(options));
    if (GetParam() == Over::Tls) context = origin_context(*rig->origin_ca, tls::leaf_for(kHost));
    greeting.emplace(greet, context.get());
    http.emplace(http_origin([](const std::string&) { return with_length("whole"); }), context.get());
  }
  // A connection to `place` that the worker has taken.
  [[nodiscard]] Wire connect(const Endpoint& place) {
    rig->go_to(place);
    const int before = rig->flows.asked;
    Wire wire = rig->connect();
    if (GetParam() == Over::Tls) EXPECT_TRUE(wire.start_tls(rig->client_ssl(WorkerRig::Trust::OurCa, "")));
    EXPECT_TRUE(eventually([&] { return rig->flows.asked > before; }));
    return wire;
  }
  void record_greeting() {
    Wire wire = connect(greeting->endpoint());
    EXPECT_EQ(wire.read_until("\n"), "220 ready\r\n");
    wire.close();
    EXPECT_EQ(rig->count(Counter::TunnelledServerFirst), 1U);
  }
  void record_http() {
    Wire wire = connect(http->endpoint());
    wire.write(kAsk);
    wire.half_close();
    EXPECT_EQ(wire.rest(), with_length("whole") + "<EOF>");
    EXPECT_TRUE(eventually([&] { return rig->outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  }
  void expect_misses(uint64_t number) {
    EXPECT_TRUE(eventually([&] { return rig->count(Counter::MissOpaque) == number; }))
        << rig->count(Counter::MissOpaque);
    EXPECT_EQ(rig->outcomes(Mode::Replay, Outcome::Missed), number);
  }
  // Whoever was silent before is known to be by then, and what the session says of its place has been read.
  void pass_the_sniff_timeout() {
    Wire known = connect(greeting->endpoint());
    EXPECT_EQ(known.rest(), "<RST>");
  }

  std::optional<WorkerRig> rig;
  SslContext context;
  std::optional<ScriptedOrigin> greeting, http;
};

INSTANTIATE_TEST_SUITE_P(, ServerFirst, testing::Values(Over::Clear, Over::Tls),
                         [](const auto& info) { return info.param == Over::Tls ? "Tls" : "Clear"; });

TEST_P(ServerFirst, IsResetAndAMissAfterTheSniffTimeoutWhereTheOriginWasHeardFirst) {
  begin();
  record_greeting();
  const int dialed = rig->sockets.made;
  rig->set_mode(Mode::Replay);
  Wire silent = connect(greeting->endpoint());
  EXPECT_EQ(silent.rest(), "<RST>") << "long before the other limits";
  expect_misses(1);
  EXPECT_EQ(rig->sockets.made, dialed);
}

TEST_P(ServerFirst, AConnectionOpenedEarlyIsAnsweredWhenItIsUsed) {
  begin();
  record_greeting();
  record_http();
  rig->set_mode(Mode::Replay);
  Wire early = connect(http->endpoint());
  pass_the_sniff_timeout();
  early.write(kAsk);
  early.half_close();
  EXPECT_EQ(early.rest(), with_length("whole") + "<EOF>");
  expect_misses(1);
}

TEST_P(ServerFirst, AConnectionThatWasNeverUsedIsNoMissWhereRequestsAreOnTape) {
  begin();
  record_greeting();
  record_http();
  rig->set_mode(Mode::Replay);
  Wire unused = connect(http->endpoint());
  pass_the_sniff_timeout();
  unused.close();
  EXPECT_TRUE(eventually([&] { return rig->active() == 0; }));
  expect_misses(1);
}

TEST_P(ServerFirst, SuchAConnectionEndsAsAnIdleOne) {
  RigOptions options = impatient();
  options.config.limits.header_timeout = 25ms;
  options.config.limits.idle_timeout = 200ms;
  begin(std::move(options));
  record_http();
  rig->set_mode(Mode::Replay);
  Wire unused = connect(http->endpoint());
  EXPECT_EQ(unused.rest(), "<EOF>");
  if (unused.ssl() != nullptr) EXPECT_NE(SSL_get_shutdown(unused.ssl()) & SSL_RECEIVED_SHUTDOWN, 0);
  EXPECT_TRUE(eventually([&] { return rig->count(Counter::LimitIdleTimeout) == 1; }));
  expect_misses(0);
}

TEST_P(ServerFirst, WhereNeitherSideSpeaksTheIdleTimeoutEndsItAndIsCounted) {
  RigOptions options = impatient();
  options.config.limits.idle_timeout = 200ms;
  begin(std::move(options));
  Wire silent = connect(http->endpoint());
  EXPECT_THAT(silent.rest(), testing::HasSubstr("<"));
  EXPECT_TRUE(eventually([&] { return rig->active() == 0; }));
  EXPECT_EQ(rig->count(Counter::LimitIdleTimeout), 1U);
}

TEST_P(ServerFirst, WhereNothingIsOnTapeAClientThatLeavesUnheardHasMissed) {
  begin();
  record_greeting();
  rig->set_mode(Mode::Replay);
  Wire elsewhere = connect(http->endpoint());
  pass_the_sniff_timeout();
  elsewhere.close();
  expect_misses(2);
}

TEST_P(ServerFirst, WhereNothingIsOnTapeTheHeaderTimeoutEndsItAsAMiss) {
  RigOptions options = impatient();
  options.config.limits.header_timeout = 50ms;
  options.mode = Mode::Replay;
  begin(std::move(options));
  Wire silent = connect(greeting->endpoint());
  EXPECT_EQ(silent.rest(), "<RST>");
  expect_misses(1);
}

TEST_P(ServerFirst, AClientThatLeavesBeforeTheSniffTimeoutHasSaidNothing) {
  RigOptions options = impatient();
  options.config.limits.sniff_timeout = 60s;
  options.mode = Mode::Replay;
  begin(std::move(options));
  Wire brief = connect(greeting->endpoint());
  brief.close();
  EXPECT_TRUE(eventually([&] { return rig->active() == 0; }));
  expect_misses(0);
}

TEST_P(ServerFirst, PassthroughLeavesNoNoteOfIt) {
  RigOptions options = impatient();
  options.config.limits.header_timeout = 50ms;
  options.mode = Mode::Passthrough;
  begin(std::move(options));
  record_greeting();
  const store::Place place{GetParam() == Over::Tls ? "https" : "http",
                           GetParam() == Over::Tls ? std::string(kHost) : greeting->endpoint().ip(),
                           greeting->endpoint().port,
                           {}};
  rig->set_mode(Mode::Record);
  EXPECT_EQ(rig->store->opening("default", place), store::Opening::Unknown);
}

}  // namespace
}  // namespace tapdeck::server
