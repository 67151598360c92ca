// What replay makes of origins that fall silent or end a TLS handshake: what the client was given live.
#include <gmock/gmock.h>

#include <cerrno>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kAskSilent = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

RigOptions impatient() {
  RigOptions options;
  options.config.limits.idle_timeout = 400ms;
  options.config.limits.tls_timeout = 400ms;
  return options;
}

ScriptedOrigin::End stay_silent(Wire& wire) {
  wire.rest();
  return ScriptedOrigin::End::Close;
}

ScriptedOrigin::Script fatal_alert(char number) {
  return [number](Wire& wire) {
    wire.read_some();
    wire.write(std::string("\x15\x03\x03\x00\x02\x02", 6) + number);
    return ScriptedOrigin::End::Close;
  };
}

TEST(Failures, WithoutAnAnswerAreReplayedAsTheSameAnswer) {
  const struct {
    const char* what;
    bool over_tls;
    ScriptedOrigin::Script origin;
    const char* status;
    const char* error;
  } table[] = {
      {"silent", false, stay_silent, "HTTP/1.1 504 ", "\"upstream_timeout\""},
      {"silent in its handshake", true, stay_silent, "HTTP/1.1 504 ", "\"upstream_timeout\""},
      {"handshake_failure", true, fatal_alert(40), "HTTP/1.1 502 ", "\"upstream_tls\""},
      {"unrecognized_name", true, fatal_alert(112), "HTTP/1.1 502 ", "\"upstream_tls\""},
      {"a reset in its handshake", true,
       [](Wire& wire) {
         wire.read_some();
         return ScriptedOrigin::End::Reset;
       },
       "HTTP/1.1 502 ", "\"upstream_tls\""},
  };
  for (const auto& row : table) {
    WorkerRig rig(impatient());
    ScriptedOrigin origin(row.origin);
    rig.go_to(origin.endpoint());
    const std::string live = rig.ask(kAskSilent, row.over_tls);
    EXPECT_THAT(live, StartsWith(row.status)) << row.what;
    EXPECT_THAT(live, HasSubstr(row.error)) << row.what;
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; })) << row.what;
    origin.stop();
    rig.set_mode(Mode::Replay);
    for (int turn = 0; turn < 2; ++turn) EXPECT_EQ(rig.ask(kAskSilent, row.over_tls), live) << row.what;
  }
}

TEST(Failures, SilenceInTheMiddleHasItsTurnInReplay) {
  WorkerRig rig(impatient());
  std::atomic<int> asked{0};
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    const bool is_first = ++asked == 1;
    wire.write(is_first ? "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart" : with_length("whole"));
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  std::vector<std::string> live;
  for (size_t turn = 1; turn <= 2; ++turn) {
    live.push_back(rig.ask(kAskSilent));
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == turn; }));
  }
  EXPECT_THAT(live[0], EndsWith("part<RST>"));
  EXPECT_THAT(live[1], EndsWith("whole<EOF>"));
  const auto page = tls::testing::must(rig.store->list_recordings({}));
  const auto silent =
      std::ranges::find(page.items, store::Outcome::Kind::Reset, [](const auto& item) { return item.outcome.kind; });
  ASSERT_NE(silent, page.items.end());
  EXPECT_EQ(silent->outcome.at_bytes, 4U);
  EXPECT_EQ(silent->outcome.reason, "upstream_timeout");
  EXPECT_EQ(silent->outcome.code, static_cast<uint32_t>(ETIMEDOUT));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(kAskSilent), live[0]);
  EXPECT_EQ(rig.ask(kAskSilent), live[1]);
}

TEST(Failures, AChunkedAnswerThatWasCutIsNotWholeToAClientOfHttp10) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  const std::string old = "GET /a HTTP/1.0\r\nHost: api.test\r\n\r\n";
  EXPECT_THAT(rig.ask(old), EndsWith("\r\n\r\npart<RST>"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(old), EndsWith("\r\n\r\npart<RST>"));
  EXPECT_THAT(rig.ask(kAskSilent), EndsWith("4\r\npart\r\n<EOF>")) << "chunks tell that one is missing";
}

}  // namespace
}  // namespace tapdeck::server
