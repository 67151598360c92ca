#include "daemon/kernel/tproxy_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::kernel {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Endpoint at(const char* text) {
  return *Endpoint::parse(text);
}

TEST(TproxyRules, SendWhatIsTcpToTheListenersOfItsFamily) {
  const std::string rules = tproxy_rules({at("127.84.0.1:61000"), at("[::1]:61001"), {}});
  EXPECT_THAT(rules, HasSubstr("meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.84.0.1:61000 accept"));
  EXPECT_THAT(rules, HasSubstr("meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:61001 accept"));
  // What the command says to its own servers comes first.
  EXPECT_LT(rules.find("@own4 socket transparent 0 accept"), rules.find("tproxy ip to"));
  EXPECT_LT(rules.find("udp dport 53 accept"), rules.find("meta l4proto udp counter"));
}

TEST(TproxyRules, TheHostsAddressesAreTheCommandsOwn) {
  const std::string rules = tproxy_rules({at("127.84.0.1:61000"), at("[::1]:61001"), {at("10.7.0.1"), at("fd77::1")}});
  EXPECT_THAT(rules, HasSubstr("elements = { 127.0.0.0/8, 10.7.0.1 }"));
  EXPECT_THAT(rules, HasSubstr("elements = { ::1, fd77::1 }"));
}

TEST(TproxyRules, SayNothingOfAFamilyThatIsNotThere) {
  const std::string rules = tproxy_rules({at("127.84.0.1:61000"), {}, {}});
  EXPECT_THAT(rules, Not(HasSubstr("tproxy ip6")));
}

TEST(TproxyRules, PlacesReplaceThoseOfBefore) {
  EXPECT_EQ(place_commands({at("127.0.0.1:80"), at("127.0.0.1:81"), at("0.0.0.0:22"), at("[::1]:80")}),
            "flush set inet tapdeck open4\nflush set inet tapdeck any4\n"
            "add element inet tapdeck open4 { 127.0.0.1 . 80, 127.0.0.1 . 81 }\n"
            "add element inet tapdeck any4 { 22 }\n"
            "flush set inet tapdeck open6\nflush set inet tapdeck any6\n"
            "add element inet tapdeck open6 { ::1 . 80 }\n");
  EXPECT_THAT(place_commands({}), Not(HasSubstr("add")));
}

}  // namespace
}  // namespace tapdeck::kernel
