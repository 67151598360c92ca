#include "daemon/modes/known_absent.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

CursorKey absent_key(uint64_t number) {
  return {.tape = number, .target = 1, .key = {}};
}

TEST(KnownAbsent, HoldsForOneGeneration) {
  KnownAbsent absent;
  EXPECT_FALSE(absent.contains(absent_key(1), 5));
  absent.add(absent_key(1), 5);
  EXPECT_TRUE(absent.contains(absent_key(1), 5));
  EXPECT_FALSE(absent.contains(absent_key(2), 5));
  EXPECT_FALSE(absent.contains(absent_key(1), 6));
  absent.add(absent_key(1), 5);
  EXPECT_FALSE(absent.contains(absent_key(1), 6)) << "looked for before what came with 6";
  EXPECT_FALSE(absent.contains(absent_key(1), 5));
}

TEST(KnownAbsent, IsBounded) {
  KnownAbsent absent;
  for (uint64_t i = 0; i < KnownAbsent::kMost; ++i) absent.add(absent_key(i), 0);
  EXPECT_TRUE(absent.contains(absent_key(0), 0));
  absent.add(absent_key(KnownAbsent::kMost), 0);
  EXPECT_FALSE(absent.contains(absent_key(0), 0));
  EXPECT_TRUE(absent.contains(absent_key(KnownAbsent::kMost), 0));
}

}  // namespace
}  // namespace tapdeck::modes
