// Half-close both ways: a FIN of one side is passed on as a FIN, and the other direction stays open, in tunnels and
// HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

class HalfClose : public ::testing::TestWithParam<CaptureBy> {};
INSTANTIATE_TEST_SUITE_P(Path, HalfClose, ::testing::Values(CaptureBy::Cgroup, CaptureBy::Interface),
                         [](const auto& info) { return to_string(info.param); });

TEST_P(HalfClose, ClientEndsFirstAndStillReadsTheWholeAnswerOfATunnel) {
  Captured captured(GetParam());
  std::string seen;
  ScriptedOrigin origin(captured.lab().origin(), 7000, std::nullopt, [&](Peer& peer) {
    seen = peer.stream().read_to_end();  // returns only when the client's FIN came through
    peer.stream().send("\x01 answer after your end " + std::string(1 << 20, 'a'));
  });
  const std::string opaque = "\x01\x02 not http " + std::string(200000, 'q');
  const auto output = raw_tcp(captured.seat(), kOriginV4, 7000, opaque, {"--half-close"});
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_EQ(seen, opaque);
  EXPECT_EQ(output.out.size(), 24U + (1U << 20));
}

TEST_P(HalfClose, OriginEndsFirstAndStillReadsWhatTheClientSends) {
  Captured captured(GetParam());
  std::string seen;
  std::atomic<bool> done = false;
  ScriptedOrigin origin(captured.lab().origin(), 7000, std::nullopt, [&](Peer& peer) {
    peer.stream().send("\x01 banner");
    peer.stream().half_close();
    seen = peer.stream().read_to_end();
    done = true;
  });
  const std::string opaque = "\x02 " + std::string(500000, 'r');
  const auto output = raw_tcp(captured.seat(), kOriginV4, 7000, opaque);
  EXPECT_EQ(output.out, "\x01 banner");
  EXPECT_TRUE(eventually(10s, [&] { return done.load(); }));
  EXPECT_EQ(seen, opaque);
}

TEST_P(HalfClose, HttpClientThatEndsAfterItsRequestGetsItsAnswer) {
  Captured captured(GetParam());
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("whole")}}));
  const auto output =
      raw_tcp(captured.seat(), kOriginV4, 80, "GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n", {"--half-close"});
  EXPECT_EQ(parse_raw(output.out).body, "whole");
}

}  // namespace
}  // namespace tapdeck::lab
