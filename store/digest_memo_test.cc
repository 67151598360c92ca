#include "store/digest_memo.h"

#include <gtest/gtest.h>

namespace tapdeck::store {
namespace {

TEST(DigestMemo, AnswersWhatHashingWouldForEveryLengthFirstAndAgain) {
  DigestMemo memo;
  for (const size_t size : {0U, 1U, 15U, 16U, 17U, 2048U, 16384U, 16385U, 100000U}) {
    const std::string body(size, 'b');
    for (const char* time : {"the first time", "the second time"}) {
      const HashedBody kept = memo.keep(body);
      EXPECT_EQ(kept.digest, content_digest(body)) << size << ", " << time;
      EXPECT_EQ(*kept.bytes, body) << size << ", " << time;
    }
  }
}

TEST(DigestMemo, FindsOnlyWhatItKeepsAndSharesIt) {
  DigestMemo memo;
  const std::string body(2048, 'b');
  EXPECT_EQ(memo.find(body), nullptr);
  const HashedBody kept = memo.keep(body);
  const HashedBody* found = memo.find(body);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->bytes, kept.bytes) << "the same memory, not a copy";
  EXPECT_EQ(memo.find(body.substr(1)), nullptr);
  EXPECT_EQ(memo.keep(body).bytes, kept.bytes);
}

TEST(DigestMemo, WhatWasGivenOutOutlivesItsPlace) {
  DigestMemo memo;
  const std::string first = "0" + std::string(1000, 'x');
  const HashedBody kept = memo.keep(first);
  for (int i = 1; i < 100; ++i) ASSERT_NE(memo.keep(std::to_string(i) + std::string(1000, 'x')).bytes, kept.bytes);
  EXPECT_EQ(*kept.bytes, first);
}

TEST(DigestMemo, TellsBodiesApartThatDifferInAnyByte) {
  DigestMemo memo;
  std::string body(2048, 'b');
  for (size_t i = 0; i < body.size(); ++i) {
    body[i] = 'c';
    ASSERT_EQ(memo.keep(body).digest, content_digest(body)) << i;
    body[i] = 'b';
  }
  EXPECT_EQ(memo.keep(body).digest, content_digest(body));
}

TEST(DigestMemo, MoreBodiesThanItKeepsAreStillRight) {
  DigestMemo memo;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 100; ++i) {
      const std::string body = std::to_string(i) + std::string(1000, 'x');
      ASSERT_EQ(memo.keep(body).digest, content_digest(body));
    }
  }
}

}  // namespace
}  // namespace tapdeck::store
