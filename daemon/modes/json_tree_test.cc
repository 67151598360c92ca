#include "daemon/modes/json_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/config/json_path.h"

namespace tapdeck::modes {
namespace {

using testing::ElementsAre;

TEST(JsonTree, TakesJsonAndNothingElse) {
  const std::string_view good[] = {"0",        "-0",        "1.5e-7", " [ ] ", "{}",       "\xef\xbb\xbf{}",
                                   "\"\"",     "[1,[2,3]]", "true",   "false", "null",     "\"\\u12aF\"",
                                   "\"\\\\\"", "\t1\r\n",   "1e400",  "1E+05", "\"\x7f\"", "[[]]",
                                   "{\"\":{}}"};
  const std::string_view bad[] = {"",       " ",          "01",          "-",       "1.",         ".5",  "1e",
                                  "+1",     "1 2",        "[1,]",        "[,]",     "[1",         "{",   "{\"a\"}",
                                  "{a:1}",  "{\"a\":1,}", "{\"a\":}",    "nul",     "truex",      "\"",  "\"\\\"",
                                  "\"\n\"", "\"\\x\"",    "\"\\u12g4\"", "\"\\u12", "[1}",        "]",   "\v1",
                                  "NaN",    "- 1",        "{1:2}",       "'a'",     "[1] // why", "1e+", "\xef\xbb"};
  for (const std::string_view text : good) EXPECT_TRUE(JsonTree::parse(text)) << text;
  for (const std::string_view text : bad) EXPECT_FALSE(JsonTree::parse(text)) << text;
}

TEST(JsonTree, IsBoundedInDepth) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(JsonTree::parse(nested(128)));
  EXPECT_FALSE(JsonTree::parse(nested(129)));
  EXPECT_FALSE(JsonTree::parse(std::string(1000000, '[')));
}

TEST(JsonTree, KnowsWhereEachValueLies) {
  const std::string_view text = R"( {"b" : [1, {"x":null}], "a":"\u0041", "b": -0.50} )";
  const auto tree = JsonTree::parse(text);
  ASSERT_TRUE(tree);
  std::vector<std::string> members;
  for (const JsonTree::Index member : tree->children(0)) {
    members.push_back(tree->name(member) + "=" + std::string(tree->text(member)));
    EXPECT_EQ(text.substr(tree->offset(member), tree->text(member).size()), tree->text(member));
  }
  EXPECT_THAT(members, ElementsAre(R"(a="\u0041")", R"(b=[1, {"x":null}])", "b=-0.50"));
  EXPECT_EQ(tree->size(), 7U);
  EXPECT_EQ(tree->members(0, "b").size(), 2U);
  EXPECT_EQ(tree->identity(tree->children(0)[0]), "\"A");
}

TEST(MemberStep, IsReadBackAsThatMember) {
  for (const std::string name : {"id", "odd name", "it's", "a.b", "[0]", "*", "", "@t"}) {
    const auto path = config::JsonPath::parse("$" + member_step(name, name));
    ASSERT_TRUE(path) << name;
    ASSERT_EQ(path->steps.size(), 1U) << name;
    EXPECT_EQ(path->steps[0].kind, config::JsonPath::Step::Kind::Name) << name;
    EXPECT_EQ(path->steps[0].name, name);
  }
}

TEST(MemberStep, ShowsNoLoneSurrogate) {
  EXPECT_EQ(".\xef\xbf\xbd", member_step("\xed\xa0\x80", "\xed\xa0\x80"));
}

}  // namespace
}  // namespace tapdeck::modes
