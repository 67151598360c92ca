#include "daemon/transport/output_writer.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <optional>
#include <string>

namespace tapdeck::transport {
namespace {

using namespace std::chrono_literals;
using When = OutputWriter::When;

const std::string kMuch(4 << 20, 'x');  // more than the socket takes

// A connection that puts bytes out, and the peer's end of it.
struct Writing final : OutputSource {
  explicit Writing(When when, std::chrono::milliseconds patience = 10s) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer = UniqueFd(fds[1]);
    transport.emplace(std::make_unique<net::Stream>(io.get_executor(), UniqueFd(fds[0]), Origin::Downstream));
    writer.emplace(*this, *transport, group, io.get_executor(),
                   OutputWriter::Options{when, patience, [this] {
                                           on_lost(Error{Code::Timeout, "stalled", Origin::Downstream, Retry::No, 0});
                                         }});
  }
  // What the peer has got; nullopt: nothing.
  std::optional<std::string> arrived() {
    std::string bytes(65536, ' ');
    const ssize_t n = ::read(peer.get(), bytes.data(), bytes.size());
    if (n < 0) return std::nullopt;
    bytes.resize(static_cast<size_t>(n));
    return bytes;
  }
  // Reads until as much has come as was put out.
  void read_all() {
    for (size_t got = 0; got < kMuch.size(); io.poll(), io.restart()) {
      const auto bytes = arrived();
      if (bytes) got += bytes->size();
      if (bytes && bytes->empty()) break;
    }
    io.run_for(100ms);
    io.restart();
  }

  ByteQueue& output() override { return queue; }
  const Error* ended() const override { return error ? &*error : nullptr; }
  void on_room() override { ++rooms; }
  void on_idle() override { ++idles; }
  void on_lost(const Error& why) override {
    error = why;
    transport->close();
  }

  asio::io_context io{1};
  net::TaskGroup group{io.get_executor()};
  UniqueFd peer;
  ByteQueue queue;
  std::optional<Transport> transport;
  std::optional<OutputWriter> writer;
  std::optional<Error> error;
  int rooms = 0, idles = 0;
};

TEST(OutputWriter, NowIsNow) {
  Writing source(When::Now);
  source.queue.append("a");
  source.writer->write_soon();
  EXPECT_EQ(source.arrived(), "a");
  source.queue.append("b");
  auto done = source.writer->try_flush();
  EXPECT_TRUE(done && *done);
  EXPECT_EQ(source.arrived(), "b");
}

TEST(OutputWriter, WhatATurnPutsOutIsOneWriteAtItsEnd) {
  Writing source(When::EndOfTurn);
  asio::post(source.io, [&] {
    source.queue.append("a");
    source.writer->write_soon();
  });
  asio::post(source.io, [&] {
    source.queue.append("b");
    auto done = source.writer->try_flush();
    EXPECT_TRUE(done && *done) << "nobody has to wait";
    EXPECT_FALSE(source.arrived());
  });
  source.io.run_for(1s);
  EXPECT_EQ(source.arrived(), "ab");
  EXPECT_EQ(source.idles, 1);
}

TEST(OutputWriter, TheRestIsWrittenAsThePeerReads) {
  for (const When when : {When::Now, When::EndOfTurn}) {
    Writing source(when);
    source.queue.append(kMuch);
    EXPECT_TRUE(source.writer->is_clogged());
    source.writer->write_soon();
    source.io.poll();
    source.io.restart();
    EXPECT_GT(source.writer->backlog(), 0U);
    source.read_all();
    EXPECT_EQ(source.writer->backlog(), 0U);
    EXPECT_GE(source.rooms, 1);
    EXPECT_GE(source.idles, 1);
  }
}

TEST(OutputWriter, FlushWaitsOnlyWhileTooMuchIsUnsent) {
  Writing source(When::EndOfTurn);
  bool flushed = false;
  auto flush = [&]() -> net::Task<> {
    auto done = co_await source.writer->flush();
    EXPECT_TRUE(done);
    flushed = true;
  };
  source.queue.append(kMuch);
  asio::co_spawn(source.io, flush(), asio::detached);
  source.io.poll();
  source.io.restart();
  EXPECT_FALSE(flushed);
  source.read_all();
  EXPECT_TRUE(flushed);
}

TEST(OutputWriter, WhoeverIsCancelledLeavesTheWorkToAnother) {
  Writing source(When::EndOfTurn);
  net::TaskGroup exchange(source.io.get_executor());
  auto flush = [&]() -> net::Task<> {
    auto done = co_await source.writer->flush();
    EXPECT_FALSE(done);
  };
  source.queue.append(kMuch);
  exchange.spawn(flush());
  source.io.poll();
  source.io.restart();
  exchange.cancel();
  source.io.poll();
  source.io.restart();
  EXPECT_EQ(exchange.size(), 0U);
  EXPECT_FALSE(source.error);
  source.read_all();
  EXPECT_EQ(source.writer->backlog(), 0U);
}

TEST(OutputWriter, APeerThatTakesNothingOrIsGoneEndsTheConnection) {
  Writing silent(When::EndOfTurn, 30ms);
  silent.queue.append(kMuch);
  silent.writer->write_soon();
  silent.io.run_for(10s);
  ASSERT_TRUE(silent.error);
  EXPECT_EQ(silent.error->detail, "stalled");
  auto refused = silent.writer->try_flush();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().detail, "stalled");

  Writing gone(When::Now);
  gone.peer.reset();
  gone.queue.append("a");
  gone.writer->write_soon();
  EXPECT_TRUE(gone.error);
}

}  // namespace
}  // namespace tapdeck::transport
