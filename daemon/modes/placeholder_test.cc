#include "daemon/modes/placeholder.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

TEST(Placeholder, IsFoundInsideAValueHoweverItWasEncoded) {
  for (const char* text :
       {"[redacted:1234abcd]", "sid=[redacted:1234abcd]; theme=dark", "a=1; sid=\"[redacted:1234abcd]\"",
        "sid=%5Bredacted%3A1234abcd%5D", "/cb?token=%5bREDACTED:1234ABCD%5D&x=1",
        "/in?next=%2Fcb%3Ftoken%3D%255Bredacted%253A1234abcd%255D", "https://[redacted:1234abcd]@api.test/",
        "[redacted:no] [redacted:1234abcd]", "Bearer [redacted:00000000]"}) {
    EXPECT_TRUE(holds_placeholder(text)) << text;
  }
}

TEST(Placeholder, IsNothingElse) {
  for (const char* text : {"", "redacted", "[redacted:...]", "[redacted:1234abc]", "[redacted:1234abcd", "[redacted:",
                           "[redacted:1234abxy]", "redacted:1234abcd", "%5Bredacted%", "[redacted:1234abcde]"}) {
    EXPECT_FALSE(holds_placeholder(text)) << text;
  }
}

TEST(Placeholder, OfARequestIsInItsUrlOrAField) {
  http::RequestHead head;
  head.target = "/a?x=1";
  head.headers.add("Host", "api.test");
  head.headers.add("Authorization", "Basic dXNlcjpwYXNzd29yZA==");
  EXPECT_EQ(placeholder_in(head), "");
  head.headers.add("cookie", "a=1; sid=[redacted:1234abcd]");
  EXPECT_EQ(placeholder_in(head), "cookie");
  head.target = "/a?token=[redacted:1234abcd]";
  EXPECT_EQ(placeholder_in(head), "URL");
}

TEST(Placeholder, IsFoundWhereAClientMadeCredentialsOfAUrl) {
  http::RequestHead head;
  for (const char* value : {"Basic W3JlZGFjdGVkOjEyMzRhYmNkXQ==", "basic  W3JlZGFjdGVkOmFiY2QxMjM0XQ=="}) {
    head.headers.set("Authorization", value);  // [redacted:1234abcd] and [redacted:abcd1234]
    EXPECT_EQ(placeholder_in(head), "Authorization") << value;
  }
}

}  // namespace
}  // namespace tapdeck::modes
