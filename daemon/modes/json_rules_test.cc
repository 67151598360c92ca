#include "daemon/modes/json_rules.h"

#include <gmock/gmock.h>
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

// Where they first differ; empty: nowhere.
std::string difference(const JsonRules& rules, std::string_view recorded, std::string_view received) {
  const auto found = rules.difference(recorded, received);
  return found ? found->first : "not JSON";
}

TEST(JsonRules, DifferenceNamesThePlace) {
  const JsonRules rules({"$.id"});
  EXPECT_EQ(difference(rules, R"({"id":1,"a":[1,{"b":2}]})", R"({"id":2,"a":[1,{"b":3}]})"), "$.a[1].b");
  EXPECT_EQ(difference(rules, R"({"a":1})", R"({"a":1,"c":1})"), "$.c");
  EXPECT_EQ(difference(rules, R"({"a":[1]})", R"({"a":[1,2]})"), "$.a[1]");
  EXPECT_EQ(difference(rules, R"({"a.b":1})", R"({"a.b":2})"), "$['a.b']");
  EXPECT_EQ(difference(rules, "1", "2"), "$");
  EXPECT_EQ(difference(rules, R"({"id":1})", R"({"id":2})"), "");
  EXPECT_EQ(difference(rules, "x", "{}"), "not JSON");
}

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(JsonRules, PathsToIgnoreAreAllThatWouldMakeThemTheSame) {
  const JsonRules rules({"$.id"});
  EXPECT_THAT(
      rules.paths_to_ignore(R"({"id":1,"m":{"ts":1,"n":3},"q":[1,2]})", R"({"id":2,"m":{"ts":5,"n":3},"q":[1,3]})"),
      ElementsAre("$.id", "$.m.ts", "$.q[1]"));
  EXPECT_THAT(rules.paths_to_ignore(R"({"m":{"ts":1},"q":[1]})", R"({"m":{"at":1},"q":[2,3]})"),
              ElementsAre("$.id", "$.m", "$.q"))
      << "what has other members can only be left out whole";
  EXPECT_THAT(rules.paths_to_ignore(R"({"a.b":1,"*":[1]})", R"({"a.b":2,"*":[2]})"),
              ElementsAre("$.id", "$['*'][0]", "$['a.b']"));
}

TEST(JsonRules, WhereNoPathMakesThemTheSameThereIsNone) {
  const JsonRules rules({"$.id"});
  EXPECT_THAT(rules.paths_to_ignore("1", "2"), IsEmpty());
  EXPECT_THAT(rules.paths_to_ignore("x", "2"), IsEmpty());
  EXPECT_THAT(rules.paths_to_ignore(R"({"a":1})", R"({"a":1,"c":1})"), IsEmpty()) << "the whole would be left out";
  EXPECT_THAT(rules.paths_to_ignore(R"({"a.'b":1})", R"({"a.'b":2})"), ElementsAre("$.id", R"($["a.'b"])"));
  EXPECT_THAT(rules.paths_to_ignore(R"({"a.'\"b":1})", R"({"a.'\"b":2})"), IsEmpty()) << "cannot be written";
  EXPECT_THAT(rules.paths_to_ignore(R"({"\ud800":1})", R"({"\ud800":2})"), IsEmpty()) << "cannot be written";
}

TEST(JsonRules, FreshIdsGoWhereTheRecordedOnesStood) {
  const JsonRules rules({"$.id"});
  Replacements learnt;
  rules.learn(R"({"id":"old-1","q":"old-1"})", R"({"id":"new-1","q":"old-1"})", learnt);
  rules.learn(R"({"id":7})", R"({"id":8})", learnt);
  EXPECT_EQ(rules.replaced(R"({"z":1, "id":"old-1","data":"old-1"})", learnt),
            R"({"z":1, "id":"new-1","data":"old-1"})");
  EXPECT_EQ(rules.replaced(R"({"id": 7})", learnt), R"({"id": 8})");
  EXPECT_EQ(rules.replaced(R"({"id" : "stranger"})", learnt), R"({"id" : "stranger"})") << "not touched at all";
  EXPECT_EQ(rules.replaced("old-1", learnt), "old-1");
}

TEST(JsonRules, EachPathHasItsOwnValues) {
  const JsonRules rules({"$.id", "$.seq"});
  Replacements learnt;
  rules.learn(R"({"id":1,"seq":1})", R"({"id":5,"seq":1})", learnt);
  EXPECT_EQ(rules.replaced(R"({"id":1,"seq":1})", learnt), R"({"id":5,"seq":1})") << "seq is as recorded";
  rules.learn(R"({"id":1,"seq":2})", R"({"id":1,"seq":2})", learnt);
  EXPECT_EQ(rules.replaced(R"({"id":1,"seq":2})", learnt), R"({"id":1,"seq":2})") << "and so is the id by now";
  rules.learn(R"({"id":1.0,"seq":3})", R"({"id":1,"seq":3})", learnt);
  EXPECT_EQ(rules.replaced(R"({"id":1.0})", learnt), R"({"id":1.0})") << "the same number";
}

TEST(JsonRules, AFreshValueIsEchoedAtAnotherPathWhenItIsClearWhich) {
  const JsonRules rules({"$.id", "$.seq", "$.reply_to"});
  Replacements learnt;
  rules.learn(R"({"id":"a","seq":7})", R"({"id":"b","seq":8})", learnt);
  EXPECT_EQ(rules.replaced(R"({"reply_to":"a"})", learnt), R"({"reply_to":"b"})");
  rules.learn(R"({"id":7})", R"({"id":8})", learnt);
  EXPECT_EQ(rules.replaced(R"({"reply_to":7})", learnt), R"({"reply_to":8})") << "both have become 8";
  rules.learn(R"({"id":7})", R"({"id":9})", learnt);
  EXPECT_EQ(rules.replaced(R"({"id":7,"seq":7,"reply_to":7})", learnt), R"({"id":9,"seq":8,"reply_to":7})");
}

TEST(JsonRules, AValueAtSeveralPlacesOfOnePathIsTheFreshOne) {
  const JsonRules rules({"$..id"});
  Replacements learnt;
  rules.learn(R"({"id":1,"of":{"id":1}})", R"({"id":5,"of":{"id":1}})", learnt);
  EXPECT_EQ(rules.replaced(R"({"id":1})", learnt), R"({"id":5})");
}

struct Carried {
  std::string_view recorded, received;  // of the client
  std::string_view origin;              // as recorded
  std::string_view sent;                // what the client must get
};

TEST(JsonRules, OnlyTheIgnoredPlaceOfAMessageChanges) {
  const Carried table[] = {
      {R"({"id":1})", R"({"id":2})", R"({"id":1,"n":12345678901234567890123})",
       R"({"id":2,"n":12345678901234567890123})"},
      {R"({"id":1})", R"({"id":2})", R"({"pi":3.14159265358979323846,"id":1})",
       R"({"pi":3.14159265358979323846,"id":2})"},
      {R"({"id":1})", R"({"id":2})", R"({"id":1,"z":-0,"e":1E+2})", R"({"id":2,"z":-0,"e":1E+2})"},
      {R"({"id":1})", R"({"id":2})", R"({"id":1,"s":"\u00e9\/x"})", R"({"id":2,"s":"\u00e9\/x"})"},
      {R"({"id":1})", R"({"id":2})", "{ \t\"id\" :\r\n 1 , \"a\":[ 1, 2 ] }\n",
       "{ \t\"id\" :\r\n 2 , \"a\":[ 1, 2 ] }\n"},
      {R"({"id":1})", R"({"id":2})", R"({"big":1e400,"id":1})", R"({"big":1e400,"id":2})"},
      {R"({"id":1})", R"({"id":2})", R"({"a":1,"a":2,"id":1})", R"({"a":1,"a":2,"id":2})"},
      {R"({"id":1})", R"({"id":2})", R"({"id":1,"id":1})", R"({"id":2,"id":2})"},
      {R"({"id":1})", R"({"id":2})", R"({"id":1,"lone":"\ud800"})", R"({"id":2,"lone":"\ud800"})"},
      {R"({"id":"o"})", R"({"id":"\u006e\/"})", R"({"\u0069d":"\u006f"})", R"({"\u0069d":"\u006e\/"})"},
      {R"({"id":12345678901234567890123})", R"({"id":12345678901234567890124})", R"({"id":12345678901234567890123})",
       R"({"id":12345678901234567890124})"},
      {R"({"id":12345678901234567890123})", R"({"id":2})", R"({"id":12345678901234567890124})",
       R"({"id":12345678901234567890124})"},
      {R"({"id":1,"v":[null,"a"]})", R"({"id":1,"v":["x",null]})", R"({"id":1,"v":["a"]})", R"({"id":1,"v":["a"]})"},
      {R"({"m":{"b":{"k":1},"a":{"k":2}}})", R"({"m":{"a":{"k":20},"b":{"k":10}}})", R"({"m":[{"k":1},{"k":2}]})",
       R"({"m":[{"k":10},{"k":20}]})"},
  };
  const JsonRules rules({"$.id", "$.v[*]", "$..k"});
  for (const Carried& row : table) {
    Replacements learnt;
    rules.learn(row.recorded, row.received, learnt);
    EXPECT_EQ(rules.replaced(row.origin, learnt), row.sent) << row.recorded << " became " << row.received;
  }
}

TEST(JsonRules, NumbersAreComparedExactly) {
  const JsonRules rules({});
  const std::vector<std::vector<std::string>> classes = {
      {"1", "1.0", "10e-1", "0.1E1", "1e0", "1e00"},
      {"0", "-0", "0.0", "0e99999999999999999999"},
      {"12345678901234567890123", "12345678901234567890123.0", "1.2345678901234567890123e22"},
      {"12345678901234567890124"},
      {"-1"},
      {"18446744073709551616"},
      {"18446744073709551617"},
      {"1e400", "10e399"},
      {"1e401"},
      {"1e99999999999999999999"},
      {"1e-99999999999999999999"},
      {"\"1\""},
      {"0.1", "0.10"},
      {"0.1000000000000000055511151231257827"},
  };
  for (const auto& one : classes) {
    for (const auto& other : classes) {
      for (const std::string& a : one) {
        for (const std::string& b : other) {
          EXPECT_EQ(rules.canonical(a) == rules.canonical(b), &one == &other) << a << " and " << b;
          EXPECT_EQ(difference(rules, a, b).empty(), &one == &other) << a << " and " << b;
        }
      }
    }
  }
}

TEST(JsonRules, WhatIsOneStringDoesNotLookLikeTwo) {
  const JsonRules rules({"$.id"});
  EXPECT_NE(rules.canonical(R"(["a","b"])"), rules.canonical(R"(["a\",\"b"])"));
  EXPECT_NE(rules.canonical(R"({"a":["b"]})"), rules.canonical(R"({"a":{"b":null}})"));
  EXPECT_NE(rules.canonical("[[],[]]"), rules.canonical("[[[]]]"));
  EXPECT_NE(rules.canonical(R"({"a":1,"a":2})"), rules.canonical(R"({"a":1})"));
  EXPECT_EQ(rules.canonical(R"({"a":1,"b":3,"a":2})"), rules.canonical(R"({"b":3,"a":1,"a":2})"));
  EXPECT_EQ(rules.canonical(R"("\u00e9\/\ud83d\ude00")"), rules.canonical("\"é/😀\""));
  EXPECT_NE(rules.canonical(R"("\ud800")"), rules.canonical(R"("\ud801")"));
  EXPECT_EQ(difference(rules, R"({"\ud800":1})", R"({"\ud800":2})"), "$.\xef\xbf\xbd");
  EXPECT_EQ(difference(rules, R"({"b":1})", R"({"a":1})"), "$.a");
}

}  // namespace
}  // namespace tapdeck::modes
