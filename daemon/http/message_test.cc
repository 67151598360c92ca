#include "daemon/http/message.h"

#include <gtest/gtest.h>

namespace tapdeck::http {
namespace {

Headers sample() {
  Headers headers;
  headers.add("Set-Cookie", "a=1");
  headers.add("X-Empty", "");
  headers.add("set-cookie", "b=2");
  headers.add("Connection", "keep-alive, Upgrade");
  headers.add("connection", "close");
  return headers;
}

TEST(Headers, KeepOrderCaseAndRepeats) {
  const Headers headers = sample();
  ASSERT_EQ(headers.size(), 5u);
  EXPECT_EQ(headers[0].name, "Set-Cookie");
  EXPECT_EQ(headers[2].name, "set-cookie");
  EXPECT_EQ(headers[2].value, "b=2");
  EXPECT_EQ(headers[1].value, "");
}

TEST(Headers, LookupIgnoresCaseAndGivesTheFirst) {
  const Headers headers = sample();
  EXPECT_EQ(headers.find("SET-COOKIE"), "a=1");
  EXPECT_EQ(headers.count("set-cookie"), 2u);
  EXPECT_EQ(headers.find("x-none"), std::nullopt);
  EXPECT_EQ(headers.find("x-empty"), "");
}

TEST(Headers, SetReplacesAllAtThePlaceOfTheFirst) {
  Headers headers = sample();
  headers.set("set-COOKIE", "c=3");
  ASSERT_EQ(headers.size(), 4u);
  EXPECT_EQ(headers[0].name, "Set-Cookie");
  EXPECT_EQ(headers[0].value, "c=3");
  headers.set("New", "x");
  EXPECT_EQ(headers[4].name, "New");
}

TEST(Headers, SetMayTakeAViewOfTheListItself) {
  Headers headers = sample();
  headers.set("X-Empty", headers[0].value);
  EXPECT_EQ(headers.find("x-empty"), "a=1");
}

TEST(Headers, RemoveSaysHowMany) {
  Headers headers = sample();
  EXPECT_EQ(headers.remove("SET-cookie"), 2u);
  EXPECT_EQ(headers.remove("SET-cookie"), 0u);
  EXPECT_EQ(headers.size(), 3u);
  EXPECT_EQ(headers[0].name, "X-Empty");
}

TEST(Headers, TokensAreFoundInListsAndRepeats) {
  const Headers headers = sample();
  EXPECT_TRUE(headers.has_token("Connection", "upgrade"));
  EXPECT_TRUE(headers.has_token("Connection", "close"));
  EXPECT_FALSE(headers.has_token("Connection", "clos"));
  EXPECT_FALSE(headers.has_token("Connection", "keep-alive, Upgrade"));
}

TEST(Headers, EqualityIsByFieldNotByStorage) {
  Headers split;
  split.add("ab", "c");
  Headers other;
  other.add("a", "bc");
  EXPECT_FALSE(split == other);  // the same bytes, cut elsewhere
  EXPECT_TRUE(sample() == sample());
}

TEST(Headers, ClearKeepsNothingOfTheMessageBefore) {
  Headers headers = sample();
  headers.clear();
  EXPECT_TRUE(headers.empty());
  EXPECT_EQ(headers.bytes(), 0u);
  headers.add("A", "1");
  EXPECT_EQ(headers[0].name, "A");
}

}  // namespace
}  // namespace tapdeck::http
