// Chaos over HTTP/2: origins that cannot be reached, names that do not resolve, streams that are reset and connections
// that go away, chaos_repeats() times each. One stream is told, its connection lives on, and the daemon with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "netns-tests/captured.h"
#include "netns-tests/chaos.h"
#include "netns-tests/h2_client.h"
#include "netns-tests/h2_frames.h"
#include "netns-tests/proxied.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

// Serves every stream of the connection.
void serve_well(Peer& peer) {
  uint32_t stream = read_first_h2_request(peer.stream());
  if (stream == 0 || !peer.stream().send(h2_greeting())) return;
  while (stream != 0 && peer.stream().send(h2_head(stream) + h2_body(stream))) {
    stream = read_h2_request(peer.stream());
  }
}

TEST(H2Chaos, ConnectFailuresAre502OnTheirStreamAndTheConnectionLivesOn) {
  Captured captured(CaptureBy::Interface);
  {
    H2Client client(captured.connect(kOriginV4, 80));
    for (int i = 0; i < chaos_repeats(); ++i) {
      const H2Answer answer = client.get("origin.test", "/");
      ASSERT_EQ(answer.status, 502) << answer;
      ASSERT_TRUE(answer.complete) << answer;
      ASSERT_THAT(answer.body, HasSubstr("\"upstream_connect\""));
    }
    ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, serve_well);
    const H2Answer answer = client.get("origin.test", "/");
    EXPECT_TRUE(answer.complete && answer.body == kH2Body) << answer;
  }
  expect_no_connection_left(captured.daemon());
}

TEST(H2Chaos, DnsFailuresAre502WithTheirNameAndTheConnectionLivesOn) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 80, std::nullopt, serve_well);
  {
    H2Client client(proxied.connect());
    for (int i = 0; i < chaos_repeats(); ++i) {
      for (const auto& [host, which] : {std::pair{"nothing.test", "NXDOMAIN"}, std::pair{"servfail.test", "SERVFAIL"},
                                        std::pair{"empty.test", "NODATA"}, std::pair{"silent.test", "timeout"}}) {
        const H2Answer answer = client.get(host, "/");
        ASSERT_EQ(answer.status, 502) << host << ": " << answer;
        ASSERT_TRUE(answer.complete) << host << ": " << answer;
        ASSERT_THAT(answer.body, HasSubstr("\"upstream_dns\"")) << host;
        ASSERT_THAT(answer.body, HasSubstr(which)) << host;
      }
    }
    EXPECT_EQ(origin.connections(), 0U);
    const H2Answer answer = client.get("origin.test", "/");
    EXPECT_TRUE(answer.complete && answer.body == kH2Body) << answer;
  }
  proxied.expect_no_connection_left();
}

TEST(H2Chaos, ResetsOfTheOriginReachTheStreamWithTheirCode) {
  Captured captured(CaptureBy::Interface);
  std::atomic<uint32_t> code{0};
  std::atomic<bool> head{false};
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, [&](Peer& peer) {
    uint32_t stream = read_first_h2_request(peer.stream());
    if (stream == 0 || !peer.stream().send(h2_greeting())) return;
    for (; stream != 0; stream = read_h2_request(peer.stream())) {
      const std::string begun = head || code == 0 ? h2_head(stream) : "";
      if (!peer.stream().send(begun + (code == 0 ? h2_body(stream) : h2_reset(stream, code)))) return;
    }
  });
  {
    H2Client client(captured.connect(kOriginV4, 80));
    for (int i = 0; i < chaos_repeats(); ++i) {
      for (const uint32_t which : {2U, 8U, 11U}) {  // INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM
        code = which;
        head = false;
        const H2Answer before = client.get("origin.test", "/");
        ASSERT_EQ(before.status, 502) << before;
        ASSERT_THAT(before.body, HasSubstr("\"upstream_reset\""));
        head = true;
        const H2Answer after = client.get("origin.test", "/");
        ASSERT_FALSE(after.complete) << after;
        ASSERT_EQ(after.reset, which) << after;
      }
      code = 0;
      const H2Answer well = client.get("origin.test", "/");
      ASSERT_TRUE(well.complete && well.body == kH2Body) << well;
    }
  }
  EXPECT_EQ(origin.connections(), 1U) << "a stream failed, not its connection, and nothing is asked twice";
  origin.stop();
  expect_no_connection_left(captured.daemon());
}

TEST(H2Chaos, AnOriginThatGoesAwayUntouchedIsAskedAgainOnANewConnection) {
  Captured captured(CaptureBy::Interface);
  std::atomic<int> turn{0};
  const Script script = [&turn](Peer& peer) {
    const bool refuses = turn++ % 2 == 0;
    const uint32_t stream = read_first_h2_request(peer.stream());
    if (stream == 0) return;
    // Either no stream was looked at, or this one, and it is the last: the next request comes on a new connection.
    const std::string answer = refuses ? "" : h2_head(stream) + h2_body(stream);
    peer.stream().send(h2_greeting() + h2_goaway(refuses ? 0 : stream, 0) + answer);
    static_cast<void>(peer.stream().read_to_end());
  };
  ScriptedOrigin clear(captured.lab().origin(), 80, std::nullopt, script);
  ScriptedOrigin by_alpn(captured.lab().origin(), 443, captured.lab().leaf(), script, Alpn::H2);
  const auto expect_answer = [](H2Client client, int i) {
    const H2Answer answer = client.get("origin.test", "/" + std::to_string(i));
    ASSERT_TRUE(answer.complete && answer.body == kH2Body) << answer;
  };
  const TlsContext tls = TlsContext::client(captured.daemon().client_ca(), Alpn::H2);
  for (int i = 0; i < chaos_repeats() && !testing::Test::HasFatalFailure(); ++i) {
    expect_answer(H2Client(captured.connect(kOriginV4, 80)), i);
    expect_answer(H2Client(captured.connect_tls(kOriginV4, 443, tls), "https"), i);
  }
  EXPECT_EQ(clear.connections(), 2U * static_cast<uint64_t>(chaos_repeats()));
  EXPECT_EQ(by_alpn.connections(), 2U * static_cast<uint64_t>(chaos_repeats()));
  clear.stop();
  by_alpn.stop();
  expect_no_connection_left(captured.daemon());
}

}  // namespace
}  // namespace tapdeck::lab
