// An origin that would take an offer of h2c up does not see it, whatever the mode: the answer is HTTP, on tape, and
// found again by the same request and by one without the offer.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kH2cOffer =
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";

std::string request_with(const std::string& more) {
  return "GET /a HTTP/1.1\r\nHost: api.test\r\n" + more + "\r\n";
}

// Switches whenever it is asked to.
Answers h2c_by_101(std::string& seen) {
  return [&seen](const std::string& request) {
    seen = request;
    if (!request.contains("h2c")) return with_length("plain");
    return std::string("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n<FIN>");
  };
}

TEST(H2cOffer, IsShownToNoOriginAndHidesNothingFromTheTape) {
  for (const Mode mode : {Mode::Record, Mode::Hybrid, Mode::Passthrough}) {
    WorkerRig rig;
    rig.set_mode(mode);
    std::string seen;
    ScriptedOrigin origin(http_origin(h2c_by_101(seen)));
    rig.go_to(origin.endpoint());
    EXPECT_EQ(rig.ask(request_with(kH2cOffer)), with_length("plain") + "<EOF>") << to_string(mode);
    origin.stop();
    EXPECT_EQ(seen, request_with("")) << to_string(mode);
    EXPECT_EQ(rig.count(Counter::TunnelledUpgrade), 0U);
    if (mode == Mode::Passthrough) continue;
    EXPECT_TRUE(eventually([&] { return rig.outcomes(mode, Outcome::Recorded) == 1; }));
    rig.set_mode(Mode::Replay);
    EXPECT_EQ(rig.ask(request_with(kH2cOffer)), with_length("plain") + "<EOF>") << to_string(mode);
    EXPECT_EQ(rig.ask(request_with("")), with_length("plain") + "<EOF>") << to_string(mode);
  }
}

TEST(H2cOffer, LeavesTheConnectionAndItsBodyToHttp) {
  WorkerRig rig;
  std::string seen;
  ScriptedOrigin origin(http_origin(h2c_by_101(seen)));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  const std::string body = "Content-Length: 3\r\n";
  wire.write("POST /b HTTP/1.1\r\nHost: api.test\r\n" + kH2cOffer + body + "\r\nabc");
  EXPECT_EQ(wire.read_n(with_length("plain").size()), with_length("plain"));
  wire.write(request_with(kH2cOffer));
  EXPECT_EQ(wire.read_n(with_length("plain").size()), with_length("plain"));
  wire.close();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 2; }));
}

TEST(H2cOffer, AnotherProtocolBesideItIsStillOffered) {
  WorkerRig rig;
  std::string seen;
  ScriptedOrigin origin(http_origin(h2c_by_101(seen)));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(
      rig.ask(request_with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, raw\r\nHTTP2-Settings: AAMA\r\n")),
      with_length("plain") + "<EOF>");
  origin.stop();
  EXPECT_THAT(seen, HasSubstr("Connection: Upgrade\r\nUpgrade: raw\r\n"));
  EXPECT_THAT(seen, Not(HasSubstr("HTTP2")));
}

}  // namespace
}  // namespace tapdeck::server
