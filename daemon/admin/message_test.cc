#include "daemon/admin/message.h"

#include <gtest/gtest.h>

namespace tapdeck::admin {
namespace {

TEST(AdminTarget, MalformedTargetsAreRefused) {
  for (const char* target : {"", "x", "/%", "/%1", "/%zz", "/a?b=%", "/%00", "*", "http://x/"}) {
    Request request;
    EXPECT_FALSE(parse_target(target, request)) << target;
  }
  EXPECT_EQ(decode_segment(encode_segment("a/b %?é")), "a/b %?é");
}

TEST(AdminTarget, QueryIsDecodedAndARepeatedNameIsTold) {
  Request request;
  ASSERT_TRUE(parse_target("/p?a=1&b=x%26y+z&&c", request));
  EXPECT_EQ(request.path, "/p");
  EXPECT_EQ(request.query, (std::map<std::string, std::string>{{"a", "1"}, {"b", "x&y z"}, {"c", ""}}));
  EXPECT_EQ(request.repeated, std::nullopt);
  ASSERT_TRUE(parse_target("/p?d=1&%64=1", request));
  EXPECT_EQ(request.repeated, "d");
}

}  // namespace
}  // namespace tapdeck::admin
