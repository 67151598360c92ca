#include "daemon/modes/json_rules.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

TEST(JsonRules, EqualByValueHasOneCanonicalForm) {
  const JsonRules rules({});
  EXPECT_EQ(rules.canonical("{\"a\":1,\"b\":[2]}"), rules.canonical(" { \"b\" : [2.0], \"a\" : 1 } "));
  EXPECT_NE(rules.canonical("{\"a\":1}"), rules.canonical("{\"a\":\"1\"}"));
  EXPECT_NE(rules.canonical("[1,2]"), rules.canonical("[2,1]"));
  EXPECT_FALSE(rules.canonical("not json"));
  EXPECT_FALSE(rules.canonical(std::string(100000, '[')));
  EXPECT_FALSE(rules.canonical(std::string(129, '[') + std::string(129, ']')));
  EXPECT_TRUE(rules.canonical("\"[[[[\\\"[[\""));
}

TEST(JsonRules, IgnoredPlacesDoNotCount) {
  const JsonRules rules({"$.id", "$.items[*].at", "$..nonce", "/meta/0"});
  EXPECT_EQ(rules.canonical(R"({"id":1,"x":2})"), rules.canonical(R"({"id":"other","x":2})"));
  EXPECT_EQ(rules.canonical(R"({"items":[{"at":1},{"at":2}]})"), rules.canonical(R"({"items":[{"at":8},{"at":9}]})"));
  EXPECT_EQ(rules.canonical(R"({"a":{"b":{"nonce":1}}})"), rules.canonical(R"({"a":{"b":{"nonce":[2]}}})"));
  EXPECT_EQ(rules.canonical(R"({"meta":[1,2]})"), rules.canonical(R"({"meta":[9,2]})"));
  EXPECT_NE(rules.canonical(R"({"a":{"id":1}})"), rules.canonical(R"({"a":{"id":2}})")) << "only at the top";
}

TEST(JsonRules, DifferenceNamesThePlace) {
  const JsonRules rules({"$.id"});
  EXPECT_EQ(rules.difference(R"({"id":1,"a":[1,{"b":2}]})", R"({"id":2,"a":[1,{"b":3}]})"), "$.a[1].b");
  EXPECT_EQ(rules.difference(R"({"a":1})", R"({"a":1,"c":1})"), "$.c");
  EXPECT_EQ(rules.difference(R"({"a":[1]})", R"({"a":[1,2]})"), "$.a[1]");
  EXPECT_EQ(rules.difference("1", "2"), "$");
  EXPECT_FALSE(rules.difference(R"({"id":1})", R"({"id":2})"));
  EXPECT_FALSE(rules.difference("x", "{}"));
}

TEST(JsonRules, FreshIdsGoWhereTheRecordedOnesStood) {
  const JsonRules rules({"$.id"});
  Replacements learnt;
  rules.learn(R"({"id":"old-1","q":"old-1"})", R"({"id":"new-1","q":"old-1"})", learnt);
  rules.learn(R"({"id":7})", R"({"id":8})", learnt);
  EXPECT_EQ(rules.replaced(R"({"z":1, "id":"old-1","data":"old-1"})", learnt),
            R"({"z":1,"id":"new-1","data":"old-1"})");
  EXPECT_EQ(rules.replaced(R"({"id": 7})", learnt), R"({"id":8})");
  EXPECT_EQ(rules.replaced(R"({"id" : "stranger"})", learnt), R"({"id" : "stranger"})") << "not touched at all";
  EXPECT_EQ(rules.replaced("old-1", learnt), "old-1");
}

}  // namespace
}  // namespace tapdeck::modes
