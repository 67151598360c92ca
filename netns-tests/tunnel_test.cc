// What is not HTTP is tunnelled and counted while recording, and is an honest miss in replay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/proxied.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

TEST(Tunnel, ServerFirstProtocolWorksAndIsCounted) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 25, std::nullopt, [](Peer& peer) {
    peer.stream().send("220 mail.test ready\r\n");
    peer.stream().send("250 you said " + peer.stream().read_until("\r\n"));
  });
  // The client's own bytes come only after 300 ms of silence in real life; here the banner must come regardless.
  const auto output = raw_tcp(captured.seat(), kOriginV6, 25, "", {"--deadline-ms", "2000"});
  EXPECT_THAT(output.out, ::testing::StartsWith("220 mail.test ready\r\n")) << output.err;
  EXPECT_GE(captured.daemon().metric("tapdeck_connections_total", {"protocol=\"tunnel\""}), 1.0);
  EXPECT_GE(captured.daemon().metric("tapdeck_tunnelled_bytes_total"), 21.0);
}

TEST(Tunnel, ReplayResetsWhatCannotBeOnTapeAndCountsAMiss) {
  DaemonOptions options;
  options.sections["limits"] = "header_timeout = \"1s\"\n";
  Captured captured(CaptureBy::Cgroup, std::move(options));
  ScriptedOrigin origin(captured.lab().origin(), 25, std::nullopt,
                        [](Peer& peer) { peer.stream().send("220 mail.test ready\r\n"); });
  captured.replay();
  const auto output = raw_tcp(captured.seat(), kOriginV4, 25, "");
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(output.status, 56) << output.err;
  EXPECT_EQ(origin.connections(), 0U) << "replay dialled";
  EXPECT_GE(captured.daemon().metric("tapdeck_misses_total"), 1.0);
}

TEST(Tunnel, ReplayKnowsWhereTheOriginSpokeFirst) {
  DaemonOptions options;
  options.sections["limits"] = "header_timeout = \"60s\"\n";
  Captured captured(CaptureBy::Cgroup, std::move(options));
  ScriptedOrigin origin(captured.lab().origin(), 25, std::nullopt,
                        [](Peer& peer) { peer.stream().send("220 mail.test ready\r\n"); });
  const auto recorded = raw_tcp(captured.seat(), kOriginV4, 25, "", {"--deadline-ms", "5000"});
  EXPECT_THAT(recorded.out, ::testing::StartsWith("220 mail.test ready\r\n")) << recorded.err;
  captured.replay();
  const auto output = raw_tcp(captured.seat(), kOriginV4, 25, "", {"--deadline-ms", "20000"});
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(output.status, 56) << "reset: " << output.err;
  EXPECT_EQ(origin.connections(), 1U) << "replay dialled";
  EXPECT_EQ(captured.daemon().metric("tapdeck_misses_total", {"reason=\"opaque\""}), 1.0);
}

// Speaks first, then says everything twice.
void greet_and_echo(Peer& peer) {
  peer.stream().send("220 ready\r\n");
  for (std::string line; !(line = peer.stream().read_until("\n")).empty();) peer.stream().send(line + line);
}

TEST(Tunnel, EndsWhicheverWayItsTargetComesToBeReplayed) {
  Captured captured(CaptureBy::Interface);
  ScriptedOrigin origin(captured.lab().origin(), 25, std::nullopt, greet_and_echo);
  const std::vector<std::function<void()>> ways = {
      [&] { captured.replay(); },
      [&] { captured.daemon().attach_interface(kClientSide, {"--mode", "replay"}); },
  };
  double misses = 0;
  for (const auto& turn_to_replay : ways) {
    captured.daemon().must_cli({"mode", "set", "record", "--target", captured.target()});
    Stream client = captured.connect(kOriginV4, 25);
    EXPECT_EQ(client.read_until("\n"), "220 ready\r\n");
    client.send("x\n");
    EXPECT_EQ(client.read_exactly(4), "x\nx\n");
    turn_to_replay();
    EXPECT_EQ(client.read_to_end(), "");
    EXPECT_EQ(captured.daemon().metric("tapdeck_misses_total", {"reason=\"opaque\""}), ++misses);
  }
}

TEST(Tunnel, OfAProxyClientEndsWithReplayToo) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 25, std::nullopt, greet_and_echo);
  Stream client = proxied.tunnel(std::string(kOriginV4) + ":25");
  EXPECT_EQ(client.read_until("\n"), "220 ready\r\n");
  proxied.set_mode("replay");
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_EQ(proxied.daemon().metric("tapdeck_misses_total", {"reason=\"opaque\""}), 1.0);
}

TEST(Tunnel, TlsClientThatInsistsOnAnotherProtocolIsTunnelled) {
  Captured captured;
  // The lab's own certificate shows that nobody stood in between.
  ScriptedOrigin origin(captured.lab().origin(), 443, captured.lab().leaf(),
                        [](Peer& peer) { peer.stream().send("opaque " + peer.stream().read_until("\n")); });
  const auto output = run_in({.lab = captured.lab(), .cgroup = &captured.cgroup()},
                             {"openssl", "s_client", "-quiet", "-ign_eof", "-verify_return_error", "-CAfile",
                              captured.lab().ca().certificate(), "-connect", "origin.test:443", "-alpn", "acme-tls/1"},
                             "hello\n");
  EXPECT_EQ(output.out, "opaque hello\n") << output.err;
}

TEST(Tunnel, TlsThatCarriesAnotherProtocolIsHandedOnInBothLegs) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 993, captured.lab().leaf(), [](Peer& peer) {
    peer.stream().send("* OK ready\r\n");
    peer.stream().send("you said " + peer.stream().read_until("\n"));
  });
  const auto output = run_in({.lab = captured.lab(), .cgroup = &captured.cgroup()},
                             {"openssl", "s_client", "-quiet", "-ign_eof", "-connect", "origin.test:993"}, "hello\n");
  EXPECT_EQ(output.out, "* OK ready\r\nyou said hello\n") << output.err;
  EXPECT_GE(captured.daemon().metric("tapdeck_tunnelled_total"), 1.0);
  EXPECT_EQ(origin.connections(), 1U) << "the one that was made to verify it";
}

TEST(Tunnel, BytesSurviveAWholeMebibyteEachWay) {
  Captured captured;
  const std::string bulk = "\x01" + std::string(4 << 20, 'x');
  ScriptedOrigin origin(captured.lab().origin(), 7000, std::nullopt,
                        [&](Peer& peer) { peer.stream().send(peer.stream().read_exactly(bulk.size())); });
  EXPECT_EQ(raw_tcp(captured.seat(), kOriginV4, 7000, bulk).out, bulk);
  EXPECT_TRUE(eventually(5s, [&] { return captured.daemon().metric("tapdeck_active_connections") == 0; }));
}

}  // namespace
}  // namespace tapdeck::lab
