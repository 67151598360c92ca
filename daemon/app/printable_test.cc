#include "daemon/app/printable.h"

#include <gtest/gtest.h>

namespace tapdeck::app {
namespace {

TEST(Printable, TextFromElsewhereCannotDriveTheTerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\"c\\\n"), "a\\u001b[31mb\"c\\\\n");
  EXPECT_EQ(printable("\u009B2J\u0085\x9B"), "\\u009b2J\\u0085\uFFFD");
  EXPECT_EQ(printable("1\u202Etxt\u2066 \u2013 \u20AC"), "1\\u202etxt\\u2066 \u2013 \u20AC");
}

TEST(Printable, LinesStayLines) {
  EXPECT_EQ(printable_lines("a\x1b\nb\n"), "a\\u001b\nb\n");
  EXPECT_EQ(printable_lines(""), "");
}

}  // namespace
}  // namespace tapdeck::app
