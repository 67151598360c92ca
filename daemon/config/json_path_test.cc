#include "daemon/config/json_path.h"

#include <gtest/gtest.h>

namespace tapdeck::config {
namespace {

// "name", "#2" with an index, "*", ".." joined by blanks.
std::string shape(std::string_view text) {
  const auto path = JsonPath::parse(text);
  if (!path) return "error";
  std::string out;
  for (const auto& step : path->steps) {
    if (!out.empty()) out += ' ';
    if (step.kind == JsonPath::Step::Kind::Any) out += '*';
    if (step.kind == JsonPath::Step::Kind::AnyDepth) out += "..";
    out += step.name;
    if (step.index) out += '#' + std::to_string(*step.index);
  }
  return out;
}

TEST(JsonPath, BothSpellingsAreRead) {
  EXPECT_EQ(shape("$.id"), "id");
  EXPECT_EQ(shape("$.payload.user.id"), "payload user id");
  EXPECT_EQ(shape("$.items[0].id"), "items 0#0 id");
  EXPECT_EQ(shape("$.items[*].id"), "items * id");
  EXPECT_EQ(shape("$..id"), ".. id");
  EXPECT_EQ(shape("$['odd name'][\"b.c\"]"), "odd name b.c");
  EXPECT_EQ(shape("$[2]"), "2#2");
  EXPECT_EQ(shape("$.*"), "*");
  EXPECT_EQ(shape("/payload/0/id"), "payload 0#0 id");
  EXPECT_EQ(shape("/a~1b/c~0d"), "a/b c~d");
}

TEST(JsonPath, WhatIsNoPathIsRefused) {
  for (const std::string_view text :
       {"", "id", "$", "$.", "$..", "$.a.", "$[", "$[x]", "$['a", "$['a'", "$a", "/a~2", "$[01]"}) {
    EXPECT_EQ(shape(text), "error") << text;
  }
  std::string deep = "$";
  for (int i = 0; i < 33; ++i) deep += ".a";
  EXPECT_EQ(shape(deep), "error");
}

}  // namespace
}  // namespace tapdeck::config
