#include "daemon/ws/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace tapdeck::ws {
namespace {

bool is_utf8(std::string_view text, size_t cut) {
  Utf8 utf8;
  return utf8.feed(text.substr(0, cut)) && utf8.feed(text.substr(cut)) && utf8.is_complete();
}

TEST(Utf8, BordersOfEveryLengthAreTaken) {
  for (const std::string text :
       {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "plain text, long enough \xce\xba"}) {
    for (size_t cut = 0; cut <= text.size(); ++cut) EXPECT_TRUE(is_utf8(text, cut)) << text << ' ' << cut;
  }
}

TEST(Utf8, OverlongSurrogateAndTooHighAreRefused) {
  for (const std::string text :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "ab\xc3", "\xe2\x82", "\xc3(", "\xf0\x9f\x98"}) {
    for (size_t cut = 0; cut <= text.size(); ++cut) EXPECT_FALSE(is_utf8(text, cut)) << text << ' ' << cut;
  }
}

TEST(Utf8, FirstBadByteIsSeenBeforeTheTextEnds) {
  Utf8 utf8;
  EXPECT_TRUE(utf8.feed("\xf4"));
  EXPECT_FALSE(utf8.feed("\x90")) << "above U+10FFFF, whatever follows";
}

}  // namespace
}  // namespace tapdeck::ws
