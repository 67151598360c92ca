#include "daemon/base/byte_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace tapdeck {
namespace {

std::string pattern(size_t n) {
  std::string bytes(n, '\0');
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<char>('a' + i % 26);
  return bytes;
}

TEST(ByteQueue, KeepsOrderAcrossChunks) {
  ByteQueue queue;
  const std::string bytes = pattern(ByteQueue::kChunkBytes * 3 + 7);
  queue.append(bytes);
  EXPECT_EQ(queue.size(), bytes.size());
  EXPECT_EQ(queue.to_string(), bytes);
  queue.consume(ByteQueue::kChunkBytes + 1);
  EXPECT_EQ(queue.to_string(), bytes.substr(ByteQueue::kChunkBytes + 1));
}

TEST(ByteQueue, ReserveCommitWritesInPlace) {
  ByteQueue queue;
  auto space = queue.reserve(3);
  space[0] = 'x';
  space[1] = 'y';
  queue.commit(2);
  EXPECT_EQ(queue.to_string(), "xy");
  queue.consume(2);
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.front().empty());
}

TEST(ByteQueue, MovesAnyPrefixAtEverySplit) {
  const std::string bytes = pattern(40000);
  for (size_t split :
       {size_t{0}, size_t{1}, size_t{1023}, size_t{16384}, size_t{16385}, size_t{39999}, size_t{40000}}) {
    ByteQueue from;
    from.append(bytes);
    ByteQueue to;
    to.append("-");
    EXPECT_EQ(to.move_from(from, split), split);
    EXPECT_EQ(to.to_string(), "-" + bytes.substr(0, split));
    EXPECT_EQ(from.to_string(), bytes.substr(split));
    EXPECT_EQ(from.size(), bytes.size() - split);
  }
}

TEST(ByteQueue, ContiguousJoinsTheHeadAndKeepsTheRest) {
  ByteQueue queue;
  const std::string bytes = pattern(ByteQueue::kChunkBytes + 100);
  queue.append(bytes);
  queue.consume(ByteQueue::kChunkBytes - 5);
  EXPECT_EQ(queue.contiguous(50), bytes.substr(ByteQueue::kChunkBytes - 5, 50));
  EXPECT_EQ(queue.to_string(), bytes.substr(ByteQueue::kChunkBytes - 5));
}

TEST(ByteQueue, AppendOfAnEmptiedQueueAfterReserveLosesNothing) {
  ByteQueue reserved;
  ASSERT_GE(reserved.reserve(10).size(), 10U);
  ByteQueue other;
  other.append(pattern(20000));
  reserved.append(std::move(other));
  reserved.append("end");
  EXPECT_EQ(reserved.to_string(), pattern(20000) + "end");
  EXPECT_TRUE(other.empty());
}

TEST(ByteQueue, PiecesCoverAllBytes) {
  ByteQueue queue;
  queue.append(pattern(50000));
  iovec vec[8];
  const size_t count = queue.pieces(vec);
  std::string joined;
  for (size_t i = 0; i < count; ++i) joined.append(static_cast<char*>(vec[i].iov_base), vec[i].iov_len);
  EXPECT_EQ(joined, queue.to_string());
}

}  // namespace
}  // namespace tapdeck
