// TLS that ends with the connection, without close_notify: of a client that waits for its answer, and of an origin.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

const std::string kAsk = "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n";

struct TlsEnd : testing::Test {
  WorkerRig rig;
  SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));

  // By a client whose side has ended, without close_notify, when the answer comes.
  std::string ask() {
    Wire wire = rig.connect_tls();
    EXPECT_TRUE(wire.write(kAsk));
    ::shutdown(wire.fd(), SHUT_WR);
    return wire.rest();
  }
};

TEST_F(TlsEnd, AClientThatEndsByItsFinAloneIsAnsweredLiveAndInReplay) {
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("good"); }), context.get());
  rig.go_to(origin.endpoint());
  for (int i = 0; i < 3; ++i) EXPECT_THAT(ask(), EndsWith("\r\n\r\ngood<EOF>"));
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(ask(), EndsWith("\r\n\r\ngood<EOF>"));
}

TEST_F(TlsEnd, AnOriginThatEndsItsBodySoIsStillCutShort) {
  ScriptedOrigin origin(
      [](Wire& wire) {
        wire.read_until("\r\n\r\n");
        wire.write("HTTP/1.1 200 OK\r\n\r\nhalf of");
        SSL_set_quiet_shutdown(wire.ssl(), 1);
        return ScriptedOrigin::End::Close;
      },
      context.get());
  rig.go_to(origin.endpoint());
  EXPECT_THAT(ask(), HasSubstr("half of"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  const auto page = tls::testing::must(rig.store->list_recordings({}));
  EXPECT_EQ(page.items.front().outcome.kind, store::Outcome::Kind::Truncated);
}

}  // namespace
}  // namespace tapdeck::server
