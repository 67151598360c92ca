#include "daemon/transport/transport.h"

#include <gtest/gtest.h>

#include <string>

#include "daemon/net/task_group.h"
#include "daemon/tls/test_support.h"

namespace tapdeck::transport {
namespace {

TEST(Transport, AWriterThatIsCancelledDoesNotWaitForAnother) {
  asio::io_context io;
  auto pair = tls::testing::must(net::Stream::make_pair(io.get_executor()));
  Transport transport(std::move(pair.client));
  net::TaskGroup group(io.get_executor());
  ByteQueue plain;
  plain.append(std::string(16 << 20, 'x'));  // more than the peer, which reads nothing, has room for
  Result<void> first, second;
  int ended = 0;
  const auto write = [&](Result<void>& result) -> net::Task<> {
    result = co_await transport.flush(plain);
    ++ended;
  };
  const auto stuck = group.spawn(write(first));
  const auto waits = group.spawn(write(second));
  while (io.poll_one() != 0) {
  }
  ASSERT_EQ(ended, 0);
  group.cancel(waits);
  while (io.poll_one() != 0) {
  }
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(second.error().code, Code::Cancelled);
  group.cancel(stuck);
  io.restart();
  io.run();
  EXPECT_EQ(first.error().code, Code::Cancelled);
}

// What one read gives: the bytes, or the error.
Result<size_t> read_once(asio::io_context& io, Transport& transport, ByteQueue& into) {
  Result<size_t> result;
  net::TaskGroup group(io.get_executor());
  const auto read = [&]() -> net::Task<> { result = co_await transport.read_some(into); };  // outlives its coroutine
  group.spawn(read());
  io.restart();
  io.run();
  return result;
}

TEST(Transport, AReadInClearTakesFourChunksOfWhatIsThere) {
  asio::io_context io;
  auto pair = tls::testing::must(net::Stream::make_pair(io.get_executor()));
  Transport transport(std::move(pair.client));
  ByteQueue sent, received;
  std::string bytes;
  for (int i = 0; i < 20000; ++i) bytes += std::to_string(i % 89999 + 10000);
  sent.append(bytes);
  ASSERT_TRUE(tls::testing::must(pair.server->try_write(sent)));
  EXPECT_EQ(tls::testing::must(read_once(io, transport, received)), 65536U);
  EXPECT_EQ(tls::testing::must(read_once(io, transport, received)), bytes.size() - 65536);
  EXPECT_EQ(received.to_string(), bytes);
}

TEST(Transport, AFailureBehindAFullChunkIsToldAfterIt) {
  asio::io_context io;
  auto pair = tls::testing::must(net::Stream::make_pair(io.get_executor()));
  ByteQueue unread, sent, received;
  unread.append("left unread, which makes the close a reset");
  ASSERT_TRUE(tls::testing::must(pair.client->try_write(unread)));
  sent.append(std::string(ByteQueue::kChunkBytes, 'x'));
  ASSERT_TRUE(tls::testing::must(pair.server->try_write(sent)));
  pair.server->close();
  Transport transport(std::move(pair.client));
  EXPECT_EQ(tls::testing::must(read_once(io, transport, received)), ByteQueue::kChunkBytes);
  EXPECT_EQ(read_once(io, transport, received).error().code, Code::Reset);
}

}  // namespace
}  // namespace tapdeck::transport
