// Long answers that broke off in the middle, replayed to clients that read late: every byte, then the reset.
#include <gmock/gmock.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/sockios.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/test_late_reader.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;

constexpr size_t kLongBytes = 2 << 20;
const std::string kLongHead = "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n";
const std::string kAskLong = "GET /long HTTP/1.1\r\nHost: api.test\r\n\r\n";

// Resets when the proxy's kernel has everything.
ScriptedOrigin::End break_off_late(Wire& wire) {
  wire.read_until("\r\n\r\n");
  wire.write(kLongHead + std::string(kLongBytes, 'b'));
  EXPECT_TRUE(eventually([&] {
    int waiting = 1;
    return ::ioctl(wire.fd(), SIOCOUTQ, &waiting) == 0 && waiting == 0;
  }));
  return ScriptedOrigin::End::Reset;
}

// Recorded from such an origin; the rig is in replay afterwards.
struct BrokenTape {
  explicit BrokenTape(RigOptions options) : rig(std::move(options)) {
    ScriptedOrigin origin(break_off_late);
    rig.go_to(origin.endpoint());
    EXPECT_THAT(rig.ask(kAskLong), testing::EndsWith("<RST>")) << "live, perhaps before it had read all";
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
    const auto page = tls::testing::must(rig.store->list_recordings({}));
    EXPECT_EQ(page.items.at(0).outcome.kind, store::Outcome::Kind::Reset);
    EXPECT_EQ(page.items.at(0).outcome.at_bytes, kLongBytes);
    rig.set_mode(Mode::Replay);
  }
  WorkerRig rig;
};

RigOptions long_from_h1() {
  RigOptions options;
  config::Route route;
  route.upstream_http = config::UpstreamHttp::V1;
  options.config.routes.push_back(std::move(route));
  return options;
}

TEST(BrokenReader, OverHttp1GetsWhatTheKernelHeldForIt) {
  BrokenTape broken(long_from_h1());
  for (int turn = 0; turn < 2; ++turn) {
    Wire wire = connect_narrow(broken.rig.listening());
    ASSERT_TRUE(wire.write(kAskLong));
    size_t got = 0;
    std::string some;
    do {
      EXPECT_TRUE(is_full(wire.fd()));
      some = wire.read_some();
      got += some.size();
    } while (!some.empty());
    EXPECT_EQ(wire.rest(), "<RST>");
    EXPECT_EQ(got, kLongHead.size() + kLongBytes);
  }
}

TEST(BrokenReader, OverHttp1ThatNeverReadsIsGivenUp) {
  RigOptions options = long_from_h1();
  options.config.limits.idle_timeout = 200ms;
  BrokenTape broken(std::move(options));
  Wire wire = connect_narrow(broken.rig.listening());
  ASSERT_TRUE(wire.write(kAskLong));
  EXPECT_TRUE(eventually([&] { return broken.rig.count(Counter::LimitIdleTimeout) == 1; }));
  EXPECT_TRUE(eventually([&] { return broken.rig.active() == 0; }));
}

TEST(BrokenReader, OverHttp2GetsWhatItsWindowHeldBack) {
  BrokenTape broken(long_from_h1());
  Wire raw = broken.rig.connect();
  http::H2Options options;
  options.stream_window = 16384;
  H2Wire client(raw, http::Role::Client, options);
  client.request("GET", "/long");
  size_t got = 0;
  std::string what = client.next();
  for (bool paused = false; !what.starts_with("RESET") && !what.starts_with("E"); what = client.next()) {
    if (!what.starts_with("BODY 1 ")) continue;
    got += what.size() - std::string_view("BODY 1 ").size();
    if (paused || got < kLongBytes - 49152) continue;
    paused = true;  // all that is left is in the proxy's queue of the stream
    const auto since = std::chrono::steady_clock::now();
    EXPECT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - since > 100ms; }));
  }
  EXPECT_EQ(what, "RESET 1 2");
  EXPECT_EQ(got, kLongBytes);
  raw.close();
}

}  // namespace
}  // namespace tapdeck::server
