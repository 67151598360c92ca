// Tunnels whose reader is slow: as long as it takes what waits for it, it is not idle.
#include <gtest/gtest.h>

#include "daemon/server/test_late_reader.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;

constexpr size_t kAll = 1'000'000;
constexpr size_t kStep = 16'000;
constexpr auto kPause = 25ms;  // 1.5 seconds for all of it: three times the idle timeout

RigOptions impatient(config::Splice splice) {
  RigOptions options;
  options.config.capture.splice = splice;
  options.config.limits.sniff_timeout = 20ms;
  options.config.limits.idle_timeout = 500ms;
  return options;
}

// Says all it has to say at once, then waits for the other side to end.
ScriptedOrigin::End say_much(Wire& wire) {
  wire.read_n(7);
  wire.write(std::string(kAll, 's'));
  wire.rest();
  return ScriptedOrigin::End::Close;
}

// What comes of it. The connection is ended for being idle once all has come, and not before.
void expect_all_read_slowly(WorkerRig& rig, Wire& wire) {
  EXPECT_TRUE(wire.write("\x01opaque"));
  size_t got = 0;
  auto due = std::chrono::steady_clock::now();
  while (got < kAll) {
    EXPECT_TRUE(eventually([due] { return std::chrono::steady_clock::now() >= due; }));
    due += kPause;
    const size_t n = wire.read_n(std::min(kStep, kAll - got)).size();
    if (n == 0) break;
    got += n;
  }
  EXPECT_EQ(got, kAll);
  EXPECT_EQ(rig.count(Counter::LimitIdleTimeout), 0U);
  EXPECT_EQ(wire.rest(), "<EOF>");
  EXPECT_EQ(rig.count(Counter::LimitIdleTimeout), 1U);
}

class SlowTunnel : public testing::TestWithParam<config::Splice> {};
INSTANTIATE_TEST_SUITE_P(, SlowTunnel, testing::Values(config::Splice::Splice, config::Splice::Copy));

TEST_P(SlowTunnel, IsNotIdleWhileItsReaderTakesWhatIsThere) {
  WorkerRig rig(impatient(GetParam()));
  ScriptedOrigin origin(say_much);
  rig.go_to(origin.endpoint());
  Wire wire = connect_narrow(rig.listening());
  expect_all_read_slowly(rig, wire);
}

TEST_P(SlowTunnel, IsIdleWhileItsReaderTakesNothing) {
  WorkerRig rig(impatient(GetParam()));
  ScriptedOrigin origin([](Wire& wire) {
    wire.write(std::string(32 << 20, 's'));  // more than fits in between: until it is broken off
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  const Wire wire = connect_narrow(rig.listening());
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::LimitIdleTimeout) == 1 && rig.active() == 0; }));
}

TEST(SlowTlsTunnel, IsNotIdleWhileItsReaderTakesWhatIsThere) {
  WorkerRig rig(impatient(config::Splice::Splice));
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(say_much, context.get());
  rig.go_to(origin.endpoint());
  Wire wire = connect_narrow(rig.listening());
  ASSERT_TRUE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "")));
  expect_all_read_slowly(rig, wire);
}

}  // namespace
}  // namespace tapdeck::server
