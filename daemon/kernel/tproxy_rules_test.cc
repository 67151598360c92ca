#include "daemon/kernel/tproxy_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::kernel {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TproxyRules, SendWhatIsTcpToTheListenersOfItsFamily) {
  const std::string rules = tproxy_rules(*Endpoint::parse("127.84.0.1:61000"), *Endpoint::parse("[::1]:61001"));
  EXPECT_THAT(rules, HasSubstr("meta l4proto tcp tproxy ip to 127.84.0.1:61000 accept"));
  EXPECT_THAT(rules, HasSubstr("meta l4proto tcp tproxy ip6 to [::1]:61001 accept"));
  // What the command says to its own servers comes first.
  EXPECT_LT(rules.find("socket transparent 0 accept"), rules.find("tproxy ip to"));
  EXPECT_LT(rules.find("udp dport 53 accept"), rules.find("meta l4proto udp counter"));
}

TEST(TproxyRules, SayNothingOfAFamilyThatIsNotThere) {
  const std::string rules = tproxy_rules(*Endpoint::parse("127.84.0.1:61000"), {});
  EXPECT_THAT(rules, Not(HasSubstr("ip6")));
}

}  // namespace
}  // namespace tapdeck::kernel
