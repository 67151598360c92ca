// `pace` of a route: when the pieces of a replayed answer leave.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using testing::EndsWith;

constexpr auto kPieceGap = 200ms;
const std::string kAskPaced = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";
const std::string kFirstPiece = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
const std::string kSecondPiece = "6\r\nsecond\r\n0\r\n\r\n";

ScriptedOrigin::End pause_between(Wire& wire) {
  wire.read_until("\r\n\r\n");
  const auto asked = steady_clock::now();
  wire.write(kFirstPiece);
  EXPECT_TRUE(eventually([&] { return steady_clock::now() - asked >= kPieceGap; }));  // it is what is recorded
  wire.write(kSecondPiece);
  return ScriptedOrigin::End::Close;
}

// How long after the request the second piece came. Never less than asked for, however slow the machine is.
steady_clock::duration second_came_after(WorkerRig& rig) {
  Wire wire = rig.connect();
  const auto asked = steady_clock::now();
  EXPECT_TRUE(wire.write(kAskPaced));
  EXPECT_THAT(wire.read_until("first\r\n"), EndsWith(kFirstPiece));
  EXPECT_EQ(wire.read_until("second"), "6\r\nsecond");
  const auto after = steady_clock::now() - asked;
  EXPECT_EQ(wire.read_until("0\r\n\r\n"), "\r\n0\r\n\r\n");
  wire.close();
  return after;
}

TEST(ReplayPace, PiecesLeaveAsLateAsARouteAsks) {
  const std::pair<const char*, steady_clock::duration> table[] = {
      {"recorded", kPieceGap}, {"2x", kPieceGap / 2}, {"instant", steady_clock::duration{}}};
  for (const auto& [pace, least] : table) {
    RigOptions options;
    config::Route route;
    route.streaming = config::Streaming{pace};
    options.config.routes.push_back(route);
    WorkerRig rig(std::move(options));
    ScriptedOrigin origin(pause_between);
    rig.go_to(origin.endpoint());
    EXPECT_GE(second_came_after(rig), kPieceGap) << "live";
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
    origin.stop();
    rig.set_mode(Mode::Replay);
    for (int turn = 0; turn < 2; ++turn) EXPECT_GE(second_came_after(rig), least) << pace;
  }
}

}  // namespace
}  // namespace tapdeck::server
