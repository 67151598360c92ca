// The explicit listener and clients that speak HTTP/2 to it from the first byte.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/proxy_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;

TEST(ProxyH2, ARequestToTheListenerItselfIsToldWhatToDo) {
  ProxyRig proxy;
  Wire raw = proxy.connect();
  H2Wire client(raw, http::Role::Client);
  http::RequestHead head;
  head.method = "GET";
  head.target = "/nope";
  head.scheme = "http";
  head.authority = proxy.listening.to_string();
  head.version = http::Version::Http2;
  EXPECT_TRUE(client.codec().send_request(head, http::EndStream::Yes));
  client.flush();
  const std::string seen = client.until("END 1");
  EXPECT_THAT(seen, HasSubstr("HEAD 1 404"));
  EXPECT_THAT(seen, HasSubstr("\"error\":\"no_route\""));
  EXPECT_EQ(proxy.rig.count(Counter::ProxyNoRoute), 1U);
  raw.close();
}

}  // namespace
}  // namespace tapdeck::server
