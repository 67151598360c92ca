#include "daemon/modes/pace.h"

#include <gmock/gmock.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include "daemon/exchange/fake_exchange.h"
#include "daemon/modes/replay_item.h"
#include "daemon/modes/timeline_writer.h"

namespace tapdeck::modes {
namespace {

using exchange::Clock;
using exchange::FakeExchange;
using testing::ElementsAre;
using Kind = store::Chunk::Kind;

// A clock that stands still until somebody waits; notes in the exchange when that was.
class FakeSleeper final : public Sleeper {
 public:
  explicit FakeSleeper(FakeExchange& exchange) : exchange_(exchange) {}
  [[nodiscard]] Clock::time_point now() const override { return now_; }
  net::Task<Result<void>> until(Clock::time_point moment) override {
    if (client_left) co_return fail(Code::Cancelled, "gone", Origin::Internal);
    now_ = moment;
    const auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(moment.time_since_epoch());
    exchange_.sent.push_back("at " + std::to_string(elapsed.count()));
    co_return Result<void>{};
  }
  bool client_left = false;

 private:
  FakeExchange& exchange_;
  Clock::time_point now_{};
};

store::BodyRef three_events(Kind kind) {
  store::BodyRef body;
  body.size = 6;
  body.timeline = {{kind, 0, 2, 10'000, {}}, {kind, 2, 1, 30'000, {}}, {kind, 3, 3, 30'500, {}}};
  return body;
}

// What the client gets of "abcdef", given out in portions of `portion` bytes.
std::vector<std::string> play(double factor, const store::BodyRef& body, size_t portion, bool client_left = false) {
  FakeExchange exchange;
  FakeSleeper sleeper(exchange);
  sleeper.client_left = client_left;
  asio::io_context io{1};
  auto run = [&]() -> net::Task<> {
    Pacer pacer(factor, Clock::time_point{}, sleeper);
    TimelineWriter writer(exchange, body, pacer);
    const std::string_view bytes = "abcdef";
    for (size_t at = 0; at < bytes.size(); at += portion) {
      auto written = co_await writer.write(bytes.substr(at, portion));
      if (!written) {
        exchange.sent.emplace_back("given up");
        co_return;
      }
    }
  };
  asio::co_spawn(io, run(), asio::detached);
  io.run();
  return exchange.sent;
}

TEST(Pace, AsRecordedKeepsEveryMoment) {
  EXPECT_THAT(play(1, three_events(Kind::Arrival), 6),
              ElementsAre("at 10000", "body ab", "at 30000", "body c", "at 30500", "body def"));
  EXPECT_THAT(play(1, three_events(Kind::H1Chunk), 6),
              ElementsAre("at 10000", "body ab", "at 30000", "body c", "at 30500", "body def"));
}

TEST(Pace, AFactorDividesTheTimes) {
  EXPECT_THAT(play(2, three_events(Kind::Arrival), 6),
              ElementsAre("at 5000", "body ab", "at 15000", "body c", "at 15250", "body def"));
  EXPECT_THAT(play(0.5, three_events(Kind::Arrival), 6),
              ElementsAre("at 20000", "body ab", "at 60000", "body c", "at 61000", "body def"));
}

TEST(Pace, InstantWaitsForNothingAndKeepsOnlyTheChunksOfTheWire) {
  EXPECT_THAT(play(0, three_events(Kind::Arrival), 6), ElementsAre("body abcdef"));
  EXPECT_THAT(play(0, three_events(Kind::H1Chunk), 6), ElementsAre("body ab", "body c", "body def"));
}

TEST(Pace, SegmentsThatEndInsideAnEventDoNotMoveIt) {
  EXPECT_THAT(play(1, three_events(Kind::Arrival), 5),
              ElementsAre("at 10000", "body ab", "at 30000", "body c", "at 30500", "body de", "body f"));
}

TEST(Pace, EndsWhenTheClientIsGone) {
  EXPECT_THAT(play(1, three_events(Kind::Arrival), 6, true), ElementsAre("given up"));
}

std::vector<std::string> play_heads(double factor, uint64_t head) {
  FakeExchange exchange;
  FakeSleeper sleeper(exchange);
  store::Recording recording;
  for (const int status : {100, 103}) recording.informational.emplace_back().status = status;
  recording.provenance.timings.first_byte = 10'000;
  recording.provenance.timings.head = head;
  asio::io_context io{1};
  auto run = [&]() -> net::Task<> {
    Pacer pacer(factor, Clock::time_point{}, sleeper);
    auto sent = co_await send_interim(exchange, recording, pacer);
    EXPECT_TRUE(sent);
  };
  asio::co_spawn(io, run(), asio::detached);
  io.run();
  return exchange.sent;
}

TEST(Pace, TheFinalHeadKeepsItsOwnMomentBehindInterimOnes) {
  EXPECT_THAT(play_heads(1, 30'000), ElementsAre("at 10000", "inform 103", "at 30000"));
  EXPECT_THAT(play_heads(2, 30'000), ElementsAre("at 5000", "inform 103", "at 15000"));
  EXPECT_THAT(play_heads(0, 30'000), ElementsAre("inform 103"));
  EXPECT_THAT(play_heads(1, 0), ElementsAre("at 10000", "inform 103")) << "recorded before that moment was kept";
}

TEST(Pace, IsReadFromTheRoute) {
  config::Route route;
  EXPECT_EQ(pace_of(nullptr), 0);
  EXPECT_EQ(pace_of(&route), 0);
  for (const auto& [word, factor] : std::vector<std::pair<std::string, double>>{
           {"instant", 0}, {"recorded", 1}, {"2x", 2}, {"2.5x", 2.5}, {"0.5x", 0.5}}) {
    route.streaming = config::Streaming{word};
    EXPECT_EQ(pace_of(&route), factor) << word;
  }
}

}  // namespace
}  // namespace tapdeck::modes
