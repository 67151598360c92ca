#include "daemon/config/field_path.h"

#include <gtest/gtest.h>

namespace tapdeck::config {
namespace {

TEST(FieldPath, ReadsNamesAndNumbers) {
  const auto named = FieldPath::parse("user.id");
  ASSERT_TRUE(named);
  EXPECT_FALSE(named->is_numeric());
  ASSERT_EQ(named->steps.size(), 2u);
  EXPECT_EQ(named->steps[1].name, "id");
  EXPECT_FALSE(named->message);
  const auto numeric = FieldPath::parse("2.536870911");
  ASSERT_TRUE(numeric);
  EXPECT_TRUE(numeric->is_numeric());
  EXPECT_EQ(numeric->steps[1].number, 536870911u);
}

TEST(FieldPath, ReadsWhichMessageAndWhichElement) {
  const auto path = FieldPath::parse("$[2].items[1].tags[*]");
  ASSERT_TRUE(path);
  EXPECT_EQ(path->message, 2u);
  EXPECT_EQ(path->steps[0].element, 1u);
  EXPECT_FALSE(path->steps[1].element);
  const auto every = FieldPath::parse("$[*].x");
  ASSERT_TRUE(every);
  EXPECT_FALSE(every->message);
  const auto bare = FieldPath::parse("$.x");
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->steps[0].name, "x");
}

TEST(FieldPath, RefusesWhatIsNone) {
  for (const char* text : {"",    ".", "a.",  ".a",  "a..b",      "$",  "$a",  "$[x].a", "$[1]a",   "a[", "a[-1]",
                           "a[1", "0", "1.x", "x.1", "536870912", "1x", "a b", "a[1]b",  "user id", "a[]"}) {
    EXPECT_FALSE(FieldPath::parse(text)) << text;
  }
  std::string deep = "a";
  for (int i = 0; i < 40; ++i) deep += ".a";
  EXPECT_FALSE(FieldPath::parse(deep));
}

}  // namespace
}  // namespace tapdeck::config
