#include "daemon/modes/replayed_request.h"

#include <gtest/gtest.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include "daemon/exchange/fake_exchange.h"

namespace tapdeck::modes {
namespace {

using exchange::FakeExchange;

constexpr size_t kPieces = 20'000;

struct Outcome {
  size_t taken = 0;      // bytes, before they were too many to keep
  size_t given_out = 0;  // pieces, afterwards
  size_t chunks = 0;
};

// Of `kPieces` pieces of one byte, kept up to `limit`. All of them come out again.
Outcome keep(FakeExchange& inner, size_t limit) {
  ReplayedRequest buffered(inner);
  Outcome seen;
  std::string again;
  auto script = [&]() -> net::Task<> {
    auto each = [&](std::string_view bytes) { seen.taken += bytes.size(); };
    auto whole = co_await buffered.buffer(limit, each);
    EXPECT_TRUE(whole);
    for (bool end = false; !end; ++seen.given_out) {
      auto piece = co_await buffered.read_body();
      again += piece->bytes;
      if (piece->chunk) ++seen.chunks;
      end = piece->end;
    }
  };
  asio::io_context io(1);
  asio::co_spawn(io, script(), asio::detached);
  io.run();
  EXPECT_EQ(again, std::string(kPieces, 'b'));
  return seen;
}

TEST(ReplayedRequest, ChunksOfAByteCostWhatIsKeptOfEach) {
  FakeExchange inner;
  for (size_t i = 0; i < kPieces; ++i) inner.pieces.push_back({"b", 1, ";e=0123456789abcdef"});
  const Outcome seen = keep(inner, kPieces);
  EXPECT_LT(seen.taken, kPieces / 20);
  EXPECT_EQ(seen.chunks, kPieces);
}

TEST(ReplayedRequest, PiecesThatBeginNoChunkAreKeptTogether) {
  FakeExchange inner;
  for (size_t i = 0; i < kPieces; ++i) inner.pieces.push_back({"b", {}, ""});
  const Outcome seen = keep(inner, kPieces);
  EXPECT_EQ(seen.taken, kPieces);
  EXPECT_LE(seen.given_out, 3U);
}

}  // namespace
}  // namespace tapdeck::modes
