#include "daemon/proxy/destination.h"

#include <gtest/gtest.h>

namespace tapdeck::proxy {
namespace {

TEST(Destination, ReadsNamesAndAddressesWithAndWithoutPort) {
  const struct {
    std::string authority;
    uint16_t default_port;
    std::string host;
    uint16_t port;
    std::string endpoint;  // "-": a name
  } table[] = {{"API.example.com", 80, "api.example.com", 80, "-"},
               {"api.example.com:8443", 443, "api.example.com", 8443, "-"},
               {"api.example.com.:443", 0, "api.example.com", 443, "-"},
               {"api.example.com:", 80, "api.example.com", 80, "-"},
               {"192.0.2.1", 80, "192.0.2.1", 80, "192.0.2.1:80"},
               {"[2001:DB8::1]:443", 0, "2001:db8::1", 443, "[2001:db8::1]:443"},
               {"[::1]", 443, "::1", 443, "[::1]:443"},
               {"[::ffff:192.0.2.1]:80", 0, "192.0.2.1", 80, "192.0.2.1:80"}};
  for (const auto& row : table) {
    const auto found = Destination::parse(row.authority, row.default_port);
    ASSERT_TRUE(found) << row.authority << ": " << found.error().message();
    EXPECT_EQ(found->host, row.host) << row.authority;
    EXPECT_EQ(found->port, row.port) << row.authority;
    EXPECT_EQ(found->endpoint.to_string(), row.endpoint) << row.authority;
    EXPECT_EQ(found->endpoint.port, row.port) << row.authority;
  }
}

TEST(Destination, RefusesWhatNamesNoHostOrNoPort) {
  for (const std::string text : {"", ":80", "api.example.com", "a:0", "a:99999", "a:8o", "[::1", "[api]:80", "[]:80"}) {
    const auto found = Destination::parse(text, 0);
    ASSERT_FALSE(found) << text;
    EXPECT_EQ(found.error().origin, Origin::Downstream);
  }
}

TEST(Destination, PointsAFlowAtANameByItsRouteAndAtAnAddressByBoth) {
  exchange::CapturedFlow flow;
  Destination::parse("api.test:8443", 0)->apply(flow, {});
  EXPECT_EQ(flow.destination.family, Endpoint::Family::None);
  EXPECT_EQ(flow.destination.port, 8443);
  EXPECT_EQ(flow.destination_text(), "api.test:8443");
  Destination::parse("[2001:db8::1]:443", 0)->apply(flow, {});
  EXPECT_EQ(flow.destination.to_string(), "[2001:db8::1]:443");
  EXPECT_EQ(flow.destination_text(), "[2001:db8::1]:443");
}

}  // namespace
}  // namespace tapdeck::proxy
