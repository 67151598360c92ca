#include "daemon/config/bypass.h"

#include <gtest/gtest.h>

namespace tapdeck::config {
namespace {

struct Case {
  const char* rule;
  const char* host;
  const char* destination;
  bool matches;
};

TEST(BypassRules, MatchesNamesAddressesNetworksAndPorts) {
  const Case cases[] = {
      {"api.test", "api.test", "192.0.2.1:443", true},
      {"api.test", "API.Test", "192.0.2.1:443", true},
      {"api.test", "", "192.0.2.1:443", false},
      {"*.test", "a.b.test", "192.0.2.1:443", true},
      {"*.test", "test", "192.0.2.1:443", false},
      {"*.test:8443", "a.test", "192.0.2.1:443", false},
      {"*.test:8443", "a.test", "192.0.2.1:8443", true},
      {"192.0.2.1", "", "192.0.2.1:443", true},
      {"192.0.2.1", "", "192.0.2.2:443", false},
      {"192.0.2.1:80", "", "192.0.2.1:443", false},
      {"192.0.2.0/24", "", "192.0.2.77:1", true},
      {"192.0.2.0/24:443", "", "192.0.2.77:443", true},
      {"192.0.2.0/24:443", "", "192.0.2.77:80", false},
      {"192.0.2.128/25", "", "192.0.2.127:1", false},
      {"0.0.0.0/0", "", "203.0.113.9:1", true},
      {"0.0.0.0/0", "", "[2001:db8::1]:1", false},
      {"2001:db8::/32", "", "[2001:db8:9::1]:1", true},
      {"2001:db8::/32", "", "[2001:db9::1]:1", false},
      {"[2001:db8::]/32:443", "", "[2001:db8::5]:443", true},
      {"[2001:db8::]/32:443", "", "[2001:db8::5]:80", false},
      {"[2001:db8::/32]:443", "", "[2001:db8::5]:443", true},
      {"[2001:db8::/32]:443", "", "[2001:db8::5]:80", false},
      {"[2001:db8::/32]:443", "", "[2001:db9::5]:443", false},
      {"[2001:db8::/32]", "", "[2001:db8::5]:80", true},
      {"[2001:db8::5]:443", "", "[2001:db8::5]:443", true},
      {"::1", "", "[::1]:9", true},
  };
  for (const Case& each : cases) {
    const auto destination = Endpoint::parse(each.destination);
    ASSERT_TRUE(destination) << each.destination;
    EXPECT_EQ(BypassRules({each.rule}).match(each.host, *destination), each.matches)
        << each.rule << ' ' << each.destination;
  }
}

TEST(BypassRules, AMalformedRuleMatchesNothing) {
  const Endpoint destination = *Endpoint::parse("192.0.2.1:443");
  for (const char* rule : {"", ":", "a:b", "192.0.2.1:", "192.0.2.0/33", "192.0.2.0/x", "a/8", "192.0.2.1:99999"}) {
    EXPECT_FALSE(BypassRules({rule}).match("a", destination)) << rule;
  }
}

TEST(BypassRules, AnIpv6NetworkWhosePortCannotBeToldIsRefusedWithTheFormThatCan) {
  for (const char* rule : {"2001:db8::/32:443", "2001:db8::/x"}) {
    const auto parsed = BypassRule::parse(rule);
    ASSERT_FALSE(parsed) << rule;
    EXPECT_NE(parsed.error().detail.find("with a port: [2001:db8::/32]:443"), std::string::npos);
  }
  EXPECT_FALSE(BypassRule::parse("[2001:db8::/129]:443"));
}

TEST(BypassRules, AnyRuleOfAListCounts) {
  const Endpoint destination = *Endpoint::parse("192.0.2.1:443");
  EXPECT_TRUE(BypassRules({"x.test", "192.0.2.1"}).match("", destination));
  EXPECT_FALSE(BypassRules().match("a", destination));
}

TEST(BypassRules, NamesAreMatchedWhateverThePort) {
  const BypassRules rules({"*.test:8443", "192.0.2.0/24"});
  EXPECT_TRUE(rules.match_name("a.test"));
  EXPECT_FALSE(rules.match_name("a.example"));
  EXPECT_FALSE(rules.match_name("192.0.2.1"));
  EXPECT_FALSE(rules.match_name(""));
}

}  // namespace
}  // namespace tapdeck::config
