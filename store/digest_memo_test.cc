#include "store/digest_memo.h"

#include <gtest/gtest.h>

namespace tapdeck::store {
namespace {

TEST(DigestMemo, AnswersWhatHashingWouldForEveryLengthFirstAndAgain) {
  DigestMemo memo;
  for (const size_t size : {0U, 1U, 15U, 16U, 17U, 2048U, 16384U, 16385U, 100000U}) {
    const std::string body(size, 'b');
    EXPECT_EQ(memo.of(body), content_digest(body)) << size;
    EXPECT_EQ(memo.of(body), content_digest(body)) << size << ", the second time";
  }
}

TEST(DigestMemo, TellsBodiesApartThatDifferInAnyByte) {
  DigestMemo memo;
  std::string body(2048, 'b');
  for (size_t i = 0; i < body.size(); ++i) {
    body[i] = 'c';
    ASSERT_EQ(memo.of(body), content_digest(body)) << i;
    body[i] = 'b';
  }
  EXPECT_EQ(memo.of(body), content_digest(body));
}

TEST(DigestMemo, MoreBodiesThanItKeepsAreStillRight) {
  DigestMemo memo;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 100; ++i) {
      const std::string body = std::to_string(i) + std::string(1000, 'x');
      ASSERT_EQ(memo.of(body), content_digest(body));
    }
  }
}

}  // namespace
}  // namespace tapdeck::store
