#include "daemon/modes/json_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// "PATH: recorded -> requested", "-" for what is not there.
std::vector<std::string> changes(std::string_view recorded, std::string_view requested, size_t most = 100) {
  const auto a = JsonTree::parse(recorded), b = JsonTree::parse(requested);
  if (!a || !b) return {"no JSON"};
  std::vector<std::string> out;
  const auto text = [](const JsonTree& tree, const auto& at) { return at ? std::string(tree.text(*at)) : "-"; };
  for (const JsonChange& change : json_changes(*a, *b, most)) {
    out.push_back(change.path + ": " + text(*a, change.recorded) + " -> " + text(*b, change.requested));
  }
  return out;
}

TEST(JsonChanges, AreTheValuesThatDiffer) {
  EXPECT_THAT(changes(R"({"a":1,"user":{"id":"x","n":2},"list":[1,{"t":true}]})",
                      R"({"a":1,"user":{"id":"y","n":2},"list":[1,{"t":false}]})"),
              ElementsAre("$.list[1].t: true -> false", "$.user.id: \"x\" -> \"y\""));
  EXPECT_THAT(changes("[1]", "{}"), ElementsAre("$: [1] -> {}"));
}

TEST(JsonChanges, AreNoneWhereTheValuesAreTheSame) {
  EXPECT_THAT(changes(R"({"a":1.0,"b":"\u00e9"})", R"({ "b" : "é", "a" : 1 })"), IsEmpty());
}

TEST(JsonChanges, SayWhatOneOfThemLacks) {
  EXPECT_THAT(changes(R"({"a":1,"c":3})", R"({"b":2,"c":3})"), ElementsAre("$.a: 1 -> -", "$.b: - -> 2"));
  EXPECT_THAT(changes("[1,2]", "[1]"), ElementsAre("$[1]: 2 -> -"));
  EXPECT_THAT(changes(R"({"a":1,"a":2})", R"({"a":1})"), ElementsAre("$.a: 2 -> -"));
}

TEST(JsonChanges, ArePathsThatAConfigurationMayHave) {
  EXPECT_THAT(changes(R"({"odd name":1,"it's":1,"@t":1,"":1})", R"({"odd name":2,"it's":2,"@t":2,"":2})"),
              ElementsAre("$['']: 1 -> 2", "$.@t: 1 -> 2", "$[\"it's\"]: 1 -> 2", "$['odd name']: 1 -> 2"));
}

TEST(JsonChanges, StopAtSoMany) {
  EXPECT_EQ(changes("[1,1,1,1]", "[2,2,2,2]", 3).size(), 3U);
  EXPECT_EQ(changes(R"({"a":1,"b":1,"c":1})", "{}", 2).size(), 2U);
}

TEST(JsonChanges, HaveShortPaths) {
  std::string deep = "1";
  for (int i = 0; i < 120; ++i) deep = "{\"" + std::string(100, 'n') + "\":" + deep + "}";
  const auto found = changes(deep, "{\"" + std::string(100, 'n') + "\":2}");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_TRUE(found[0].starts_with("$." + std::string(37, 'n') + "...: {"));
  std::string other = deep;
  other[other.find('1')] = '2';
  const auto a = JsonTree::parse(deep), b = JsonTree::parse(other);
  const auto all = json_changes(*a, *b, 5);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].path.size(), 120U);
  EXPECT_EQ(all[0].names.size(), 120U);
}

}  // namespace
}  // namespace tapdeck::modes
