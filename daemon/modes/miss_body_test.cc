// What a miss says of what differs inside a body.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/modes/miss.h"

namespace tapdeck::modes {
namespace {

using testing::HasSubstr;

Miss miss_of(std::vector<store::Difference> differs, std::vector<store::Difference> in_body) {
  static const store::Key key;
  static const store::KeyParts parts{"https", "a.test", 443, "POST", "/", "", {}, 0, {}};
  Miss miss{"s", "r", &key, &parts, {{7, std::move(differs)}}};
  miss.target = config::kRunTarget;
  miss.bodies = {std::move(in_body)};
  return miss;
}

TEST(MissBody, StandsBehindTheBodyAsAWhole) {
  const Miss miss = miss_of({{"body", "<9 bytes, aa>", "<9 bytes, bb>"}, {"header:depth", "0", "1"}},
                            {{"body $.user.id", "\"a\"", "\"b\""}});
  const std::string json = miss_json(miss);
  EXPECT_THAT(json, HasSubstr(R"("differs":[{"where":"body","recorded":"<9 bytes, aa>","requested":"<9 bytes, bb>"},)"
                              R"({"where":"body $.user.id","recorded":"\"a\"","requested":"\"b\""},)"
                              R"({"where":"header:depth","recorded":"0","requested":"1"}]}])"));
  EXPECT_THAT(json, HasSubstr("recording 7 differs only in body $.user.id, header:depth; send the same"));
  EXPECT_THAT(json, HasSubstr("A value made anew each time"));
  EXPECT_EQ(miss_reason(miss), "nearest 7: differs in body $.user.id, header:depth");
}

TEST(MissBody, NamesAFewOfManyInALine) {
  const std::vector<store::Difference> four = {
      {"body $.a", "1", "2"}, {"body $.b", "1", "2"}, {"body $.c", "1", "2"}, {"body $.d", "1", "2"}};
  EXPECT_EQ(miss_reason(miss_of({{"body", "1", "2"}}, four)), "nearest 7: differs in body $.a, $.b, $.c, ...");
  EXPECT_EQ(miss_reason(miss_of({{"body", "1", "2"}}, {})), "nearest 7: differs in body") << "as it is not known";
}

TEST(MissBody, InALineNamesNothingThatOnlyOneSideHas) {
  const Miss miss = miss_of({{"body", "1", "2"}}, {{"body field tok-1", "<absent>", "x"}, {"body field a", "1", "2"}});
  EXPECT_EQ(miss_reason(miss), "nearest 7: differs in body a field, field a");
  EXPECT_THAT(miss_json(miss), HasSubstr("differs only in body field tok-1, field a")) << "to who has sent it";
  EXPECT_EQ(miss_reason(miss_of({{"body", "1", "2"}}, {{"body $.users.bob", "{...}", "<absent>"}})),
            "nearest 7: differs in body a member");
}

}  // namespace
}  // namespace tapdeck::modes
