#include "daemon/transport/stall_watch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <string>

namespace tapdeck::transport {
namespace {

using namespace std::chrono_literals;

// A transport whose socket is full, and the peer's end.
struct FullPair {
  explicit FullPair(asio::io_context& io) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer = UniqueFd(fds[1]);
    transport = std::make_unique<Transport>(
        std::make_unique<net::Stream>(io.get_executor(), UniqueFd(fds[0]), Origin::Downstream));
    rest.append(std::string(4 << 20, 'x'));
    auto done = transport->try_flush(rest);
    EXPECT_TRUE(done && !*done) << "the socket takes everything";
  }
  void read_some() {
    std::string bytes(65536, ' ');
    EXPECT_GT(::read(peer.get(), bytes.data(), bytes.size()), 0);
    EXPECT_TRUE(transport->try_flush(rest));
  }
  UniqueFd peer;
  std::unique_ptr<Transport> transport;
  ByteQueue rest;
};

TEST(StallWatch, APeerThatTakesNothingHasStalled) {
  asio::io_context io{1};
  FullPair pair(io);
  int stalls = 0;
  StallWatch watch(*pair.transport, [&] { ++stalls; });
  watch.set(30ms);
  io.run_for(10s);
  EXPECT_EQ(stalls, 1);
  EXPECT_TRUE(watch.has_stalled());
}

TEST(StallWatch, ASlowReaderHasNotUntilItStops) {
  asio::io_context io{1};
  FullPair pair(io);
  int reads = 0;
  int reads_when_stalled = 0;
  StallWatch watch(*pair.transport, [&] { reads_when_stalled = reads; });
  watch.set(200ms);
  asio::steady_timer pace(io);
  std::function<void()> read_on = [&] {
    pace.expires_after(50ms);
    pace.async_wait([&](const auto& error) {
      if (error || reads == 12) return;
      pair.read_some();
      ++reads;
      read_on();
    });
  };
  read_on();
  io.run_for(10s);
  EXPECT_EQ(reads_when_stalled, 12) << "twelve reads take three times the patience";
}

TEST(StallWatch, ClearedItNeverStalls) {
  asio::io_context io{1};
  FullPair pair(io);
  StallWatch watch(*pair.transport, [] { ADD_FAILURE(); });
  watch.set(20ms);
  watch.clear();
  io.run_for(100ms);
  EXPECT_FALSE(watch.has_stalled());
}

}  // namespace
}  // namespace tapdeck::transport
