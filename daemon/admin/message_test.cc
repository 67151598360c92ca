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

TEST(AdminTarget, QueryIsDecodedAndTheLastOfARepeatedNameWins) {
  Request request;
  ASSERT_TRUE(parse_target("/p?a=1&b=x%26y+z&a=2&&c", request));
  EXPECT_EQ(request.path, "/p");
  EXPECT_EQ(request.query, (std::map<std::string, std::string>{{"a", "2"}, {"b", "x&y z"}, {"c", ""}}));
}

}  // namespace
}  // namespace tapdeck::admin
