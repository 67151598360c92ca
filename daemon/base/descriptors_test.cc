#include "daemon/base/descriptors.h"

#include <gtest/gtest.h>

#include "daemon/base/test_descriptors.h"

namespace tapdeck {
namespace {

TEST(Descriptors, AQuarterOfASmallLimitIsKeptAndAFixedNumberOfALargeOne) {
  EXPECT_EQ(descriptor_bounds_of(110, 2).accepting, 110 - 27);
  EXPECT_EQ(descriptor_bounds_of(110, 2).serving, 110 - 13);
  EXPECT_EQ(descriptor_bounds_of(65536, 8).accepting, 65536 - 80);
  EXPECT_EQ(descriptor_bounds_of(65536, 8).serving, 65536 - 40);
  EXPECT_EQ(descriptor_bounds_of(UINT64_MAX, 1).accepting, INT_MAX - 66) << "RLIM_INFINITY";
  EXPECT_EQ(descriptor_bounds().accepting, INT_MAX) << "nothing is kept before the start";
}

TEST(Descriptors, WhetherThereAreSomeIsFoundOutAndLeavesNone) {
  const int free = descriptor_after(0);
  {
    const DescriptorLimit limit(descriptor_after(3));
    EXPECT_TRUE(has_descriptors(3));
    EXPECT_FALSE(has_descriptors(4));
  }
  EXPECT_TRUE(has_descriptors(4));
  EXPECT_EQ(descriptor_after(0), free);
}

}  // namespace
}  // namespace tapdeck
