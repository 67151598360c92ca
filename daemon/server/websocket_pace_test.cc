// The moment at which a replayed WebSocket opens.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "daemon/server/websocket_rig.h"

namespace tapdeck::server {
namespace {

constexpr std::chrono::milliseconds kBeforeOpening{150};

struct Paced {
  std::string name;
  std::string streaming;  // pace; empty: none given
  config::WebSocketPace websocket = config::WebSocketPace::Instant;
};

class WebSocketPaceTest : public ::testing::TestWithParam<Paced> {};
INSTANTIATE_TEST_SUITE_P(Routes, WebSocketPaceTest,
                         ::testing::Values(Paced{"Streaming", "recorded"},
                                           Paced{"WebSocket", "", config::WebSocketPace::Recorded},
                                           Paced{"Both", "recorded", config::WebSocketPace::Recorded}),
                         [](const auto& info) { return info.param.name; });

TEST_P(WebSocketPaceTest, AtTheRecordedPaceItOpensWhenItDid) {
  config::Config config;
  config::Route& route = config.routes.emplace_back();
  route.name = "paced";
  if (!GetParam().streaming.empty()) route.streaming.emplace().pace = GetParam().streaming;
  route.websocket.emplace().pace = GetParam().websocket;
  WorkerRig rig({.config = config});
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    std::this_thread::sleep_for(kBeforeOpening);  // lint:allow: the pause is what is recorded
    wire.write("HTTP/1.1 103 Early Hints\r\nX-Early: yes\r\n\r\n" + upgrade_response() + close_of(1001));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  const auto heard = [&] {
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.write(upgrade_request("/late")));
    std::string head = wire.read_until("\r\n\r\n");
    head += wire.read_until("\r\n\r\n");
    wire.close();
    return head;
  };
  const std::string recorded = heard();
  EXPECT_TRUE(recorded.starts_with("HTTP/1.1 103 ")) << recorded;
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(heard(), recorded);
  EXPECT_GE(std::chrono::steady_clock::now() - began, kBeforeOpening);
}

}  // namespace
}  // namespace tapdeck::server
