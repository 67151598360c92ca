#include "daemon/base/glob.h"

#include <gtest/gtest.h>

#include <string>

namespace tapdeck {
namespace {

TEST(Glob, MatchesAnyCaseAndAnyRun) {
  EXPECT_TRUE(glob_match("*.example.com", "A.b.Example.COM"));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("a*b*c", "a-b-b-c"));
  EXPECT_TRUE(glob_match("a**", "a"));
  EXPECT_FALSE(glob_match("*.example.com", "example.com"));
  EXPECT_FALSE(glob_match("a*b", "a-c"));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_FALSE(glob_match("a", ""));
  EXPECT_FALSE(glob_match("*a*a*a*a*a*a*a*b", std::string(5000, 'a'))) << "and that in no long time";
}

}  // namespace
}  // namespace tapdeck
