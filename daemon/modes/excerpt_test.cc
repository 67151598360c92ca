#include "daemon/modes/excerpt.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

TEST(Excerpt, ShowsShortTextsWhole) {
  EXPECT_EQ(excerpts_of("abc", "abd"), (Excerpts{"abc", "abd"}));
  EXPECT_EQ(excerpts_of("", std::string(40, 'x')), (Excerpts{"", std::string(40, 'x')}));
}

TEST(Excerpt, ShowsLongTextsAroundWhereTheyPart) {
  const std::string before(1000, 'a'), after(1000, 'b');
  const std::string same(16, 'a'), rest(23, 'b');
  EXPECT_EQ(excerpts_of(before + "1" + after, before + "2" + after),
            (Excerpts{"..." + same + "1" + rest + "...", "..." + same + "2" + rest + "..."}));
  EXPECT_EQ(excerpts_of(before, before + "more"), (Excerpts{"..." + same, "..." + same + "more"}));
}

TEST(Excerpt, CutsNoCharacterInTwo) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "é";
  for (const std::string prefix : {"", "x"}) {
    const Excerpts shown = excerpts_of(prefix + text + "1", prefix + text + "2");
    EXPECT_EQ(shown.recorded.find("hex"), std::string::npos) << shown.recorded;
    EXPECT_TRUE(shown.recorded.ends_with("é1"));
  }
}

TEST(Excerpt, ShowsWhatIsNoTextInHexadecimal) {
  const std::string before(100, '\xff');
  EXPECT_EQ(excerpts_of(before + std::string(20, '\x01'), before + "\x02"),
            (Excerpts{"hex ...ffffffff010101010101010101010101...", "hex ...ffffffff02"}));
  EXPECT_EQ(excerpts_of(std::string("a\0b", 3), "abc"), (Excerpts{"hex 610062", "hex 616263"})) << "both alike";
  EXPECT_EQ(excerpts_of("a\r\n\tb", "abc"), (Excerpts{"a\r\n\tb", "abc"}));
}

TEST(Excerpt, CutsNamesShort) {
  EXPECT_EQ(cut_short("name", 4), "name");
  EXPECT_EQ(cut_short("longer name", 8), "longe...");
  EXPECT_EQ(cut_short("éééé", 6), "é...");
}

}  // namespace
}  // namespace tapdeck::modes
