// Chaos: clients that stop. Half a head, half a body, and readers that ask for much and read nothing: each is given up
// in its time, holds nothing at the origin meanwhile that it should not, and leaves nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>

#include "netns-tests/captured.h"
#include "netns-tests/chaos.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

TEST(StallChaos, HalfHeadsHalfBodiesAndReadersThatStopAreGivenUp) {
  DaemonOptions options;
  options.sections["limits"] = "header_timeout = \"1s\"\nidle_timeout = \"1s\"\n";
  Captured captured(CaptureBy::Interface, options);
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, [](Peer& peer) {
    if (target_of(peer.read_request()) == "/small") {
      peer.stream().send(ok_response("small"));
      return;
    }
    const std::string piece(1 << 20, 'b');
    peer.stream().send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
    while (peer.stream().send(piece)) continue;
  });
  std::list<Stream> stalled;
  std::list<Stream> half_sent;  // of these the answer is read
  for (int i = 0; i < chaos_repeats(); ++i) {
    for (const std::string& start :
         {std::string("GET / HTTP/1.1\r\nHost: origin.te"),
          std::string("POST /post HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 10\r\n\r\nhalf"),
          get_request("/big")}) {
      Stream& client =
          (start.ends_with("\r\n\r\n") ? stalled : half_sent).emplace_back(captured.connect(kOriginV4, 80));
      client.send(start);
    }
    // Left instead of timed out: both happen with many repeats.
    if (stalled.size() >= 100 && i + 1 < chaos_repeats()) {
      stalled.clear();
      half_sent.clear();
    }
  }
  EXPECT_TRUE(eventually(20s, [&] { return captured.daemon().metric("tapdeck_active_connections") == 0; }))
      << captured.daemon().metric("tapdeck_active_connections");
  for (Stream& client : half_sent) EXPECT_THAT(client.read_to_end(), ::testing::StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(eventually(10s, [&] { return origin.open() == 0; }))
      << origin.open() << " scripts of the origin still run";
  EXPECT_LE(origin.requests(), static_cast<uint64_t>(chaos_repeats())) << "a half request was taken for whole";
  Stream good = captured.connect(kOriginV4, 80);
  good.send(get_request("/small"));
  EXPECT_THAT(good.read_to_end(), ::testing::EndsWith("small"));
}

}  // namespace
}  // namespace tapdeck::lab
