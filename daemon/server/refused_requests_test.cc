// What clients send that becomes no exchange, through a whole worker: which counter it has, and whether it has one.
#include "daemon/server/h2_wire.h"
#include "daemon/server/proxy_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A client that asks in HTTP/2 with `headers`; what it is told up to the end of that stream.
std::string ask_h2(WorkerRig& rig, const http::Headers& headers) {
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/a", {}, headers);
  std::string told = client.until("END 1");
  raw.close();
  return told;
}

TEST(RefusedRequests, AHeadOfHttp2PastALimitIsThatLimitAndNoAbuse) {
  RigOptions options;
  options.config.limits.headers = 8;
  options.config.limits.head_bytes = 1024;
  WorkerRig rig(std::move(options));
  rig.go_to(local_endpoint(listen_on_loopback().get()));
  http::Headers many;
  for (int i = 0; i < 9; ++i) many.add("a", "b");
  EXPECT_THAT(ask_h2(rig, many), HasSubstr("HEAD 1 431"));
  EXPECT_EQ(rig.count(Counter::LimitHeaderCount), 1U);
  EXPECT_EQ(rig.count(Counter::LimitHeadBytes), 0U);
  http::Headers large;
  large.add("a", std::string(1100, 'b'));
  EXPECT_THAT(ask_h2(rig, large), HasSubstr("HEAD 1 431"));
  EXPECT_EQ(rig.count(Counter::LimitHeaderCount), 1U);
  EXPECT_EQ(rig.count(Counter::LimitHeadBytes), 1U);
  EXPECT_EQ(rig.count(Counter::H2HeaderCount), 0U);
  EXPECT_EQ(rig.count(Counter::H2Hpack), 0U);
}

TEST(RefusedRequests, AHeadOfFourTimesALimitIsAbuseToo) {
  RigOptions options;
  options.config.limits.headers = 8;
  WorkerRig rig(std::move(options));
  rig.go_to(local_endpoint(listen_on_loopback().get()));
  http::Headers many;
  for (int i = 0; i < 40; ++i) many.add("a", "b");
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/a", {}, many);
  EXPECT_THAT(client.until("RESET 1"), HasSubstr("RESET 1"));
  raw.close();
  EXPECT_EQ(rig.count(Counter::LimitHeaderCount), 1U);
  EXPECT_EQ(rig.count(Counter::H2HeaderCount), 1U);
}

TEST(RefusedRequests, WhatIsNoHttpAtTheProxyIsCounted) {
  ProxyRig proxy;
  EXPECT_EQ(proxy.ask("\x01\x02garbage\r\n\r\n"), "<RST>");
  EXPECT_EQ(proxy.rig.count(Counter::BadRequest), 1U);
  Wire tls = proxy.connect();
  EXPECT_FALSE(tls.start_tls(proxy.rig.client_ssl(WorkerRig::Trust::OurCa)));
  EXPECT_EQ(proxy.rig.count(Counter::BadRequest), 2U);
  EXPECT_EQ(proxy.ask("CONNECT web.test:443 FOO\r\n\r\n"), "");
  EXPECT_EQ(proxy.rig.count(Counter::BadRequest), 3U);
}

TEST(RefusedRequests, ThoseOfAConnectCountAsAnyOthers) {
  ProxyRig proxy;
  const std::string connect = "CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\n";
  EXPECT_THAT(proxy.ask(connect + "X: " + std::string(70000, 'x') + "\r\n\r\n"), StartsWith("HTTP/1.1 431 "));
  EXPECT_EQ(proxy.rig.count(Counter::LimitHeadBytes), 1U);
  EXPECT_THAT(proxy.ask(connect + "Content-Length: 1\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(proxy.rig.count(Counter::SmugglingRefused), 1U);
  EXPECT_THAT(proxy.ask("CONNECT web.test HTTP/1.1\r\nHost: web.test\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  Wire left = proxy.connect();
  EXPECT_TRUE(left.write("CONNECT web.test:443 HTTP/1.1\r\n"));
  left.half_close();
  EXPECT_EQ(left.rest(), "<EOF>");
  EXPECT_EQ(proxy.rig.count(Counter::SmugglingRefused), 1U);
  EXPECT_EQ(proxy.rig.count(Counter::BadRequest), 0U);
}

}  // namespace
}  // namespace tapdeck::server
