#include "daemon/ws/deflate.h"

#include <gtest/gtest.h>
#include <zlib.h>

namespace tapdeck::ws {
namespace {

constexpr size_t kLimit = 1 << 20;

std::string inflate_one(Inflater& inflater, std::string_view bytes) {
  std::string out;
  if (auto fed = inflater.feed(bytes, out, kLimit); !fed) return "violation " + std::to_string(fed.error().code);
  if (auto done = inflater.finish(out, kLimit); !done) return "violation " + std::to_string(done.error().code);
  return out;
}

TEST(Deflate, ReadsTheExamplesOfTheRfc) {
  Inflater inflater(Context::Kept);
  EXPECT_EQ(inflate_one(inflater, std::string("\xf2\x48\xcd\xc9\xc9\x07\x00", 7)), "Hello");
  EXPECT_EQ(inflate_one(inflater, std::string("\xf2\x00\x11\x00\x00", 5)), "Hello") << "refers to the message before";
  Inflater stored(Context::Kept);
  EXPECT_EQ(inflate_one(stored, std::string("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11)), "Hello");
  Inflater final_block(Context::Kept);
  EXPECT_EQ(inflate_one(final_block, std::string("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8)), "Hello");
  EXPECT_EQ(inflate_one(final_block, std::string("\xf2\x48\xcd\xc9\xc9\x07\x00", 7)), "Hello") << "after BFINAL";
  Inflater two_blocks(Context::Kept);
  EXPECT_EQ(inflate_one(two_blocks, std::string("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13)), "Hello");
}

TEST(Deflate, FinalBlockAtTheVeryEndIsTaken) {
  Inflater inflater(Context::Kept);
  EXPECT_EQ(inflate_one(inflater, std::string("\xf3\x48\xcd\xc9\xc9\x07\x00", 7)), "Hello");
  EXPECT_EQ(inflate_one(inflater, std::string("\xf3\x48\xcd\xc9\xc9\x07\x00", 7)), "Hello");
}

TEST(Deflate, DroppedContextRefersToNothing) {
  Deflater kept(Context::Kept, 15), dropped(Context::Dropped, 15);
  const std::string text(300, 'q');
  const size_t first = kept.message(text).value().size();
  EXPECT_LT(kept.message(text).value().size(), first) << "the second refers to the first";
  EXPECT_EQ(dropped.message(text).value(), dropped.message(text).value());
  Inflater inflater(Context::Dropped);
  EXPECT_EQ(inflate_one(inflater, dropped.message(text).value()), text);
  EXPECT_EQ(inflate_one(inflater, dropped.message(text).value()), text);
}

TEST(Deflate, WithoutAStreamNoMessageLooksCompressed) {
  Deflater none(Context::Kept, 99);  // zlib refuses such a window
  EXPECT_FALSE(none.message("text"));
  EXPECT_FALSE(none.message(""));
}

TEST(Deflate, EveryWindowIsReadByTheLargest) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i * 7919 % 1000);
  for (int bits = 9; bits <= 15; ++bits) {
    Deflater deflater(Context::Kept, bits);
    Inflater inflater(Context::Kept);
    for (int round = 0; round < 3; ++round)
      EXPECT_EQ(inflate_one(inflater, deflater.message(text).value()), text) << bits;
  }
}

TEST(Deflate, LimitHoldsExactly) {
  Deflater deflater(Context::Kept, 15);
  const std::string wire = deflater.message(std::string(1000, 'a')).value();
  for (const size_t limit : {999U, 1000U}) {
    Inflater inflater(Context::Kept);
    std::string out;
    EXPECT_EQ(inflater.feed(wire, out, limit).has_value(), limit == 1000) << limit;
  }
}

}  // namespace
}  // namespace tapdeck::ws
