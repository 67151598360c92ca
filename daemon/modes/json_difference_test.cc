#include "daemon/modes/json_difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Nothing is ignored.
JsonDifference difference(std::string_view a, std::string_view b) {
  const auto ruled = [](std::string_view text) {
    JsonTree tree = JsonTree::parse(text).value();
    const size_t size = tree.size();
    return RuledJson{std::move(tree), std::vector<bool>(size)};
  };
  return difference_between(ruled(a), ruled(b));
}

TEST(JsonDifference, CountsHowMuchDiffersAndHowMuchDoesNot) {
  const JsonDifference parts =
      difference(R"({"a":[1,2,3],"b":{"c":1,"d":{}},"e":[],"f":1})", R"({"a":[1,5],"b":7,"e":[]})");
  EXPECT_EQ(parts.first, "$.a[1]");
  EXPECT_EQ(parts.alike, 2U) << "an element, and e";
  EXPECT_EQ(parts.differing, 5U) << "two elements, both members of b, and f";
  const JsonDifference none = difference(R"({"a":{},"b":[1.0]})", R"({"b":[1],"a":{}})");
  EXPECT_EQ(none.first, "");
  EXPECT_EQ(none.alike, 2U);
  EXPECT_EQ(none.differing, 0U);
  EXPECT_THAT(none.places, IsEmpty());
}

TEST(JsonDifference, PlacesAreTheSmallestValuesThatCouldBeLeftOut) {
  EXPECT_THAT(difference(R"({"a":{"x":1,"y":2},"b":[1,2],"c":1})", R"({"a":{"x":3,"y":2},"b":[1,4],"c":[]})").places,
              ElementsAre("$.a.x", "$.b[1]", "$.c"));
  EXPECT_THAT(difference(R"([{"a":{"x":1},"b":[1]},5])", R"([{"a":{"x":2,"y":2},"b":[2,2]},6])").places,
              ElementsAre("$[0].a", "$[0].b", "$[1]"));
  EXPECT_THAT(difference("1", "[]").places, ElementsAre("$"));
}

TEST(JsonDifference, OfManyPlacesTheFirstAreNamed) {
  std::string a = "[0", b = "[0";
  for (size_t i = 0; i < 2 * JsonDifference::kMostPlaces; ++i) a += ",1", b += ",2";
  const JsonDifference parts = difference(a + ']', b + ']');
  EXPECT_EQ(parts.places.size(), JsonDifference::kMostPlaces);
  EXPECT_EQ(parts.differing, 2 * JsonDifference::kMostPlaces);
}

}  // namespace
}  // namespace tapdeck::modes
