#include "daemon/kernel/kernel_clock.h"

#include <gtest/gtest.h>

namespace tapdeck::kernel {
namespace {

TEST(KernelClock, TheOffsetOfATimeNamespaceIsThatOfItsMonotonicClock) {
  EXPECT_EQ(monotonic_offset_ns("monotonic           0         0\nboottime            0         0\n"), 0);
  EXPECT_EQ(monotonic_offset_ns("monotonic       -3600         0\nboottime         7         0\n"), -3600'000'000'000);
  EXPECT_EQ(monotonic_offset_ns("boottime   5 0\nmonotonic  100000  500000000\n"), 100'000'500'000'000);
  EXPECT_EQ(monotonic_offset_ns("monotonic  -2  500000000\n"), -1'500'000'000);
  EXPECT_EQ(monotonic_offset_ns(""), 0) << "a kernel without them";
  EXPECT_EQ(monotonic_offset_ns("nonsense\n"), 0);
}

TEST(KernelClock, TheOffsetOfTheNamespaceForChildrenAloneIsNotOurs) {
  const char* offsets = "monotonic 100000 0\nboottime 0 0\n";
  EXPECT_EQ(own_offset_ns(offsets, "time:[4026532500]", "time:[4026532500]"), 100'000'000'000'000);
  EXPECT_EQ(own_offset_ns(offsets, "time:[4026531834]", "time:[4026532500]"), 0);
  EXPECT_EQ(own_offset_ns("", "", ""), 0) << "a kernel without them";
}

TEST(KernelClock, GoesOn) {
  const uint64_t before = monotonic_ns();
  EXPECT_GE(monotonic_ns(), before);
  EXPECT_GT(before, 0U);
}

}  // namespace
}  // namespace tapdeck::kernel
