#include "daemon/names/silent_resolvers.h"

#include <gtest/gtest.h>

#include <string>

namespace tapdeck::names {
namespace {

using namespace std::chrono_literals;

class SilentResolversTest : public testing::Test {
 protected:
  static Asker asker(const std::string& resolver = "192.0.2.1", uint64_t netns_cookie = 5) {
    Asker out;
    out.resolver = *Endpoint::parse(resolver, 53);
    out.netns_cookie = netns_cookie;
    return out;
  }
  void stays_silent(const Asker& asker) { resolvers_.stayed_silent(asker, now_ - 1s, now_); }
  [[nodiscard]] bool is_silent(const Asker& asker) const { return resolvers_.is_silent(asker, now_); }

  SteadyTime now_{1h};
  SilentResolvers resolvers_;
};

TEST_F(SilentResolversTest, WhoStaysSilentIsTakenForSoForHalfAMinute) {
  EXPECT_FALSE(is_silent(asker()));
  stays_silent(asker());
  now_ += 30s - 1ms;
  EXPECT_TRUE(is_silent(asker()));
  now_ += 1ms;
  EXPECT_FALSE(is_silent(asker()));
}

TEST_F(SilentResolversTest, EachSilenceCountsAnew) {
  stays_silent(asker());
  now_ += 20s;
  stays_silent(asker());
  now_ += 20s;
  EXPECT_TRUE(is_silent(asker()));
}

TEST_F(SilentResolversTest, WhoAnswersIsNotSilent) {
  stays_silent(asker());
  resolvers_.answered(asker(), now_);
  EXPECT_FALSE(is_silent(asker()));
}

TEST_F(SilentResolversTest, WhoAnsweredAnotherQuestionMeanwhileIsNotSilent) {
  resolvers_.answered(asker(), now_ - 500ms);
  stays_silent(asker());
  EXPECT_FALSE(is_silent(asker()));
  now_ += 1s;
  stays_silent(asker());
  EXPECT_TRUE(is_silent(asker())) << "it answered before it was asked this";
}

TEST_F(SilentResolversTest, AnotherAddressOrNamespaceIsAnotherResolver) {
  stays_silent(asker());
  EXPECT_FALSE(is_silent(asker("192.0.2.2")));
  EXPECT_FALSE(is_silent(asker("192.0.2.1:5353")));
  EXPECT_FALSE(is_silent(asker("192.0.2.1", 6)));
  resolvers_.answered(asker("192.0.2.1", 6), now_);
  EXPECT_TRUE(is_silent(asker()));
}

TEST_F(SilentResolversTest, TheOldestGivesWay) {
  stays_silent(asker("192.0.2.1"));
  stays_silent(asker("192.0.2.2"));
  stays_silent(asker("192.0.2.1"));
  for (uint64_t cookie = 6; cookie < 6 + SilentResolvers::kMost - 1; ++cookie) {
    stays_silent(asker("192.0.2.1", cookie));
  }
  EXPECT_FALSE(is_silent(asker("192.0.2.2")));
  EXPECT_TRUE(is_silent(asker("192.0.2.1")));
}

}  // namespace
}  // namespace tapdeck::names
