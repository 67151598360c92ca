// Requests with a body that offer an upgrade which the origin takes up: a byte pipe from there on, in every mode that
// asks an origin, and nothing of it is on tape.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::StartsWith;

RigOptions asking_by(Mode mode) {
  RigOptions options;
  options.mode = mode;
  options.config.routes.emplace_back().on_miss = config::OnMiss::Forward;
  return options;
}

std::string request_of(size_t body, const std::string& protocol) {
  return "GET /up HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: " + protocol +
         "\r\nContent-Length: " + std::to_string(body) + "\r\n\r\n" + std::string(body, 'b');
}

// Says "got " and all that came behind the body.
ScriptedOrigin switching(size_t body, const std::string& protocol) {
  return ScriptedOrigin([body, protocol](Wire& wire) {
    wire.read_until("\r\n\r\n");
    EXPECT_EQ(wire.read_n(body).size(), body);
    wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\nhello ");
    wire.write("got " + wire.rest());
    return ScriptedOrigin::End::Close;
  });
}

TEST(UpgradeWithABody, IsAPipeOnceItIsSwitchedInEveryModeThatAsks) {
  for (const Mode mode : {Mode::Record, Mode::Hybrid, Mode::Replay, Mode::Passthrough}) {
    for (const char* protocol : {"websocket", "raw"}) {
      WorkerRig rig(asking_by(Mode::Record));
      if (mode != Mode::Record) rig.set_mode(mode);
      ScriptedOrigin origin = switching(2, protocol);
      rig.go_to(origin.endpoint());
      Wire wire = rig.connect();
      wire.write(request_of(2, protocol));
      EXPECT_THAT(wire.read_until("hello "), StartsWith("HTTP/1.1 101 "));
      wire.write("raw bytes");
      wire.half_close();
      EXPECT_EQ(wire.rest(), "got raw bytes<EOF><EOF>") << to_string(mode) << " " << protocol;
      EXPECT_EQ(rig.count(Counter::TunnelledUpgrade), 1U);
    }
  }
}

TEST(UpgradeWithABody, LeavesNothingOfALongOneInTheStore) {
  constexpr size_t kBody = 1'000'000;  // parts of it are handed to the store before the answer is known
  WorkerRig rig;
  ScriptedOrigin origin = switching(kBody, "raw");
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(request_of(kBody, "raw"));
  EXPECT_THAT(wire.read_until("hello "), StartsWith("HTTP/1.1 101 "));
  EXPECT_TRUE(eventually([&] { return rig.recordings_after_crash() == 0; }));
  wire.half_close();
  EXPECT_EQ(wire.rest(), "got <EOF><EOF>");
  EXPECT_EQ(rig.recordings_after_crash(), 0U);
}

}  // namespace
}  // namespace tapdeck::server
