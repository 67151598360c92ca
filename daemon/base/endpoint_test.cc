#include "daemon/base/endpoint.h"

#include <gtest/gtest.h>

namespace tapdeck {
namespace {

TEST(Endpoint, PrintsWhatItParses) {
  for (const char* text : {"192.0.2.1:443", "[2001:db8::1]:8443", "[fe80::1%3]:80"}) {
    const auto endpoint = Endpoint::parse(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(endpoint->to_string(), text);
    sockaddr_storage raw{};
    ASSERT_GT(endpoint->to_sockaddr(raw), 0U);
    EXPECT_EQ(Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw)), *endpoint);
  }
}

TEST(Endpoint, TakesADefaultPortForABareAddress) {
  EXPECT_EQ(Endpoint::parse("::1", 53)->to_string(), "[::1]:53");
  EXPECT_EQ(Endpoint::parse("127.0.0.1", 53)->to_string(), "127.0.0.1:53");
}

TEST(Endpoint, UnmapsV4MappedAddresses) {
  auto mapped = Endpoint::parse("[::ffff:192.0.2.9]:80");
  sockaddr_storage raw{};
  ASSERT_GT(mapped->to_sockaddr(raw), 0U);
  EXPECT_EQ(Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw)).to_string(), "192.0.2.9:80");
}

TEST(Endpoint, RefusesNonsense) {
  for (const char* text : {"", "host:80", "1.2.3:80", "1.2.3.4:", "1.2.3.4:70000", "[::1", "[::1]x", "[::1]:"}) {
    EXPECT_FALSE(Endpoint::parse(text)) << text;
  }
}

TEST(Endpoint, KnowsTheUnspecifiedAddress) {
  EXPECT_TRUE(Endpoint::parse("0.0.0.0:1")->is_unspecified());
  EXPECT_TRUE(Endpoint::parse("[::]:1")->is_unspecified());
  EXPECT_TRUE(Endpoint().is_unspecified());
  EXPECT_FALSE(Endpoint::parse("[::1]:1")->is_unspecified());
}

TEST(Endpoint, KnowsLoopback) {
  EXPECT_TRUE(Endpoint::parse("127.9.9.9:1")->is_loopback());
  EXPECT_TRUE(Endpoint::parse("[::1]:1")->is_loopback());
  EXPECT_FALSE(Endpoint::parse("10.0.0.1:1")->is_loopback());
}

}  // namespace
}  // namespace tapdeck
