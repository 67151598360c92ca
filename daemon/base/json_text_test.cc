#include "daemon/base/json_text.h"

#include <gtest/gtest.h>

namespace tapdeck {
namespace {

std::string json(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string printable(std::string_view text) {
  std::string out;
  append_printable(out, text);
  return out;
}

TEST(JsonText, ControlCharactersOfBothSetsAreEscaped) {
  EXPECT_EQ(json("a\x1b[2J\x7f"), R"("a\u001b[2J\u007f")");
  EXPECT_EQ(json("\xC2\x80\xC2\x9B"
                 "31m\xC2\x9F"),
            R"("\u0080\u009b31m\u009f")");
  EXPECT_EQ(json("\xC2\xA0\xC3\x9B"), "\"\xC2\xA0\xC3\x9B\"") << "no-break space and a letter are none";
  EXPECT_EQ(json("\x9B"
                 "31m\xC2"),
            "\"\xEF\xBF\xBD"
            "31m\xEF\xBF\xBD\"")
      << "bytes that are no UTF-8, of which Latin-1 terminals make a control character";
  EXPECT_EQ(json("say \"\\\"\n"), R"("say \"\\\"\n")");
}

TEST(JsonText, WhatPeopleReadHasItsQuotesAndBackslashes) {
  EXPECT_EQ(printable("'C:\\x' \"y\"\n\xC2\x9B"), "'C:\\x' \"y\"\\n\\u009b");
}

TEST(JsonText, AWholeTextIsEscapedInItsStrings) {
  std::string text = "{\"a\":\"\xC2\x9B\x7f\xC3\xA9\\n\"}";
  escape_controls(text);
  EXPECT_EQ(text, "{\"a\":\"\\u009b\\u007f\xC3\xA9\\n\"}");
  const std::string same = text;
  escape_controls(text);
  EXPECT_EQ(text, same);
}

}  // namespace
}  // namespace tapdeck
