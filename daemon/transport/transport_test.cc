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

}  // namespace
}  // namespace tapdeck::transport
