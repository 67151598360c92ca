// Clients that are silent first: their origin is dialled to hear whether it speaks, and that dial is the only one.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kLateGet = "GET /late HTTP/1.1\r\nHost: api.test\r\n\r\n";

RigOptions impatient() {
  RigOptions options;
  options.config.limits.sniff_timeout = std::chrono::milliseconds(20);
  return options;
}

TEST(SilentClient, IsServedOnTheConnectionThatWasMadeToListen) {
  WorkerRig rig(impatient());
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("heard"); }));
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  ASSERT_TRUE(eventually([&] { return origin.connections() == 1; }));
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(client.write(kLateGet));
    EXPECT_THAT(client.read_until("heard"), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
  EXPECT_EQ(origin.connections(), 1U);
  client.close();
}

TEST(SilentClient, IsServedSoOverHttp2InClearToo) {
  WorkerRig rig(impatient());
  ScriptedOrigin origin([](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    if (wire.until("END 1").ends_with("END 1")) wire.respond(1, 200, "heard");
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  ASSERT_TRUE(eventually([&] { return origin.connections() == 1; }));
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/late");
  EXPECT_THAT(client.until("END 1"), HasSubstr("BODY 1 heard"));
  EXPECT_EQ(origin.connections(), 1U);
  raw.close();
}

TEST(SilentClient, IsToldOfADialThatFailedWithoutASecondOne) {
  WorkerRig rig(impatient());
  rig.go_to(local_endpoint(listen_on_loopback().get()));  // nobody listens there any more
  Wire client = rig.connect();
  ASSERT_TRUE(eventually([&] { return rig.count(Counter::UpstreamRefused) == 1; }));
  const int sockets = rig.sockets.made;
  EXPECT_TRUE(client.write(kLateGet));
  EXPECT_THAT(client.read_until("}\n"), HasSubstr("\"error\":\"upstream_connect\""));
  EXPECT_EQ(rig.sockets.made, sockets);
  EXPECT_TRUE(client.write(kLateGet));
  EXPECT_THAT(client.read_until("}\n"), HasSubstr("\"error\":\"upstream_connect\""));
  EXPECT_GT(rig.sockets.made, sockets) << "the next one asks anew";
  client.close();
}

}  // namespace
}  // namespace tapdeck::server
