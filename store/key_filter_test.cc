#include "store/key_filter.h"

#include <gtest/gtest.h>

#include "store/match_key.h"

namespace tapdeck::store {
namespace {

Key key_of(uint64_t number) {
  return {content_digest(std::to_string(number))};
}

TEST(KeyFilter, SaysMayBeUntilItIsReadyAndAgainOnceRetired) {
  KeyFilter filter;
  EXPECT_TRUE(filter.may_hold(key_of(1)));
  ASSERT_TRUE(filter.begin(0));
  EXPECT_TRUE(filter.may_hold(key_of(1)));
  filter.finish(KeyFilter::State::Ready);
  EXPECT_FALSE(filter.may_hold(key_of(1)));
  filter.retire();
  EXPECT_TRUE(filter.may_hold(key_of(1)));
}

TEST(KeyFilter, NeverDeniesAKeyThatWasAddedWhileFillingOrLater) {
  KeyFilter filter;
  ASSERT_TRUE(filter.begin(0));
  // Far beyond the first slice, so that three more are made.
  constexpr uint64_t kKeys = 600000;
  for (uint64_t i = 0; i < kKeys; ++i) {
    filter.add(key_of(i));
    if (i == kKeys / 2) filter.finish(KeyFilter::State::Ready);
  }
  for (uint64_t i = 0; i < kKeys; ++i) ASSERT_TRUE(filter.may_hold(key_of(i))) << i;
}

TEST(KeyFilter, DeniesNearlyEveryKeyThatWasNotAdded) {
  KeyFilter filter;
  ASSERT_TRUE(filter.begin(200000));
  for (uint64_t i = 0; i < 200000; ++i) filter.add(key_of(i));
  filter.finish(KeyFilter::State::Ready);
  uint64_t wrong = 0;
  for (uint64_t i = 1000000; i < 1100000; ++i) wrong += filter.may_hold(key_of(i)) ? 1 : 0;
  EXPECT_LT(wrong, 2000U) << "of 100,000";
}

TEST(KeyFilter, AKeyThatRepeatsTakesNoRoom) {
  KeyFilter filter;
  ASSERT_TRUE(filter.begin(0));
  for (int i = 0; i < 1000000; ++i) filter.add(key_of(7));
  filter.finish(KeyFilter::State::Ready);
  uint64_t wrong = 0;
  for (uint64_t i = 100; i < 10100; ++i) wrong += filter.may_hold(key_of(i)) ? 1 : 0;
  EXPECT_LT(wrong, 5U);
}

TEST(KeyFilter, ASessionTooLargeGoesWithout) {
  KeyFilter filter;
  EXPECT_FALSE(filter.begin(KeyFilter::kMaxKeys + 1));
  EXPECT_EQ(filter.state(), KeyFilter::State::Retired);
  filter.add(key_of(1));
  EXPECT_TRUE(filter.may_hold(key_of(1)));
}

TEST(KeyFilter, AFillThatFailedMayBeginAgain) {
  KeyFilter filter;
  ASSERT_TRUE(filter.begin(0));
  EXPECT_FALSE(filter.begin(0)) << "it is being filled";
  filter.finish(KeyFilter::State::Idle);
  EXPECT_TRUE(filter.begin(0));
}

}  // namespace
}  // namespace tapdeck::store
