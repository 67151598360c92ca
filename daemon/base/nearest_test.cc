#include "daemon/base/nearest.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace tapdeck {
namespace {

TEST(Nearest, DistanceCountsInsertedDeletedAndReplacedLetters) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("nginx", "ngnix"), 2U);
}

TEST(Nearest, NearNamesAreFoundAndFarOnesAreNot) {
  const std::array<std::string_view, 3> names = {"durability", "hold_limit", "path"};
  EXPECT_EQ(nearest("durabilty", names), "durability");
  EXPECT_EQ(nearest("holdlimit", names), "hold_limit");
  EXPECT_EQ(nearest("zzzzzz", names), "");
  const std::array<std::string_view, 2> verbs = {"create", "rewind"};
  EXPECT_EQ(nearest("rename", verbs), "") << "half of it would have to be another word's";
  EXPECT_EQ(nearest("craete", verbs), "create");
  const std::vector<std::string> sessions = {"default", "prod"};
  EXPECT_EQ(nearest("defualt", sessions), "default");
  EXPECT_EQ(nearest("zzzz", sessions), "");
}

TEST(Nearest, OfTwoEquallyNearTheFirstIsTaken) {
  const std::array<std::string_view, 2> names = {"abcx", "abcy"};
  EXPECT_EQ(nearest("abc", names), "abcx");
}

}  // namespace
}  // namespace tapdeck
