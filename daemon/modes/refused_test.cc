#include "daemon/modes/refused.h"

#include <gmock/gmock.h>

#include <cerrno>

#include "daemon/exchange/fake_exchange.h"

namespace tapdeck::modes {
namespace {

using exchange::FakeExchange;
using testing::ElementsAre;
using testing::IsEmpty;
using Kind = store::Outcome::Kind;

const store::Outcome kRefused{Kind::Failed, 0, "upstream_connect", ECONNREFUSED};
const store::Outcome kAnswered{};
const store::Outcome kUnfinished{Kind::Incomplete, 3, "client_gone", 0};
const Endpoint kA = *Endpoint::parse("192.0.2.1:81");
const Endpoint kB = *Endpoint::parse("[2001:db8::1]:81");

struct Row {
  uint8_t key;
  uint64_t take;
  Endpoint to;
  store::Outcome outcome;
};

store::Recording recording_of(const Row& row) {
  store::Recording recording;
  recording.key.bytes[0] = row.key;
  recording.take = row.take;
  recording.provenance.original_destination = row.to;
  recording.outcome = row.outcome;
  return recording;
}

std::vector<Endpoint> found_in(std::vector<Row> rows, const std::vector<Endpoint>& spared = {}) {
  std::vector<Endpoint> answers[2];
  for (auto& answer : answers) {
    RefusedDestinations destinations;
    for (const Row& row : rows) destinations.look(recording_of(row));
    for (const Row& row : rows) destinations.judge(recording_of(row));
    for (const Endpoint& to : spared) destinations.spare(to);
    answer = destinations.found();
    std::ranges::reverse(rows);
  }
  EXPECT_EQ(answers[0], answers[1]) << "the order does not matter";
  return answers[0];
}

TEST(WasRefused, IsAConnectThatTheOriginRefusedAndNothingElse) {
  const auto of = [](store::Outcome outcome) { return was_refused(recording_of({1, 1, kA, std::move(outcome)})); };
  EXPECT_TRUE(of(kRefused));
  EXPECT_FALSE(of(kAnswered));
  EXPECT_FALSE(of({Kind::Failed, 0, "upstream_connect", EHOSTUNREACH}));
  EXPECT_FALSE(of({Kind::Failed, 0, "upstream_timeout", ETIMEDOUT}));
  EXPECT_FALSE(of({Kind::Failed, 0, "upstream_reset", ECONNRESET}));
  EXPECT_FALSE(of({Kind::Reset, 5, "upstream_reset", ECONNREFUSED})) << "a code of HTTP/2";
}

TEST(RefusedDestinations, AreThoseWhereNothingElseIsOnTape) {
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {1, 1, kA, kRefused}, {2, 1, kB, kRefused}}), ElementsAre(kA, kB));
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {2, 1, kA, kAnswered}, {3, 1, kB, kRefused}}), ElementsAre(kB));
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {2, 1, kA, {Kind::Failed, 0, "upstream_timeout", ETIMEDOUT}}}),
              IsEmpty());
  EXPECT_THAT(found_in({{1, 1, kA, kAnswered}}), IsEmpty());
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {2, 1, kB, kRefused}}, {kA}), ElementsAre(kB));
}

TEST(RefusedDestinations, OfARequestOnlyTheTakeCountsThatReplayPlays) {
  EXPECT_THAT(found_in({{1, 1, kA, kAnswered}, {1, 2, kA, kRefused}}), ElementsAre(kA));
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {1, 2, kA, kAnswered}}), IsEmpty());
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {1, 2, kB, kRefused}}), ElementsAre(kB))
      << "the newer take says nothing of the other";
  EXPECT_THAT(found_in({{1, 2, kA, kRefused}, {2, 1, kA, kAnswered}}), IsEmpty()) << "another request, its newest";
}

TEST(RefusedDestinations, ARequestThatWasAnsweredElsewhereKeepsItsTurn) {
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {1, 1, kB, kAnswered}}), IsEmpty());
}

TEST(RefusedDestinations, AnUnfinishedAnswerIsOneUnlessItIsOlder) {
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {1, 1, kA, kUnfinished}}), IsEmpty());
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {1, 2, kB, kUnfinished}}), IsEmpty());
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {2, 1, kA, kUnfinished}}), IsEmpty());
  EXPECT_THAT(found_in({{1, 1, kA, kUnfinished}, {1, 2, kA, kRefused}}), ElementsAre(kA));
}

TEST(RefusedDestinations, ClientsThatNameAHostSayNothingOfAnAddress) {
  EXPECT_THAT(found_in({{1, 1, Endpoint{}, kRefused}}), IsEmpty());
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {1, 1, Endpoint{}, kAnswered}}), IsEmpty());
  EXPECT_THAT(found_in({{1, 1, kA, kRefused}, {2, 1, Endpoint{}, kAnswered}}), ElementsAre(kA));
}

TEST(OnlyReplays, IsWhatNoRouteOfTheTargetSpeaksAgainst) {
  const auto with = [](auto change) {
    std::vector<config::Route> routes(1);
    change(routes[0]);
    return only_replays(routes, "web");
  };
  EXPECT_TRUE(only_replays({}, "web"));
  EXPECT_TRUE(with([](config::Route& route) { route.mode = Mode::Replay; }));
  EXPECT_FALSE(with([](config::Route& route) { route.mode = Mode::Hybrid; }));
  EXPECT_FALSE(with([](config::Route& route) { route.mode = Mode::Passthrough; }));
  EXPECT_FALSE(with([](config::Route& route) { route.on_miss = config::OnMiss::Forward; }));
  EXPECT_FALSE(with([](config::Route& route) { route.repeat = config::Repeat::Once; }));
  EXPECT_TRUE(with([](config::Route& route) {
    route.mode = Mode::Hybrid;
    route.target = "job";
  }));
  EXPECT_TRUE(with([](config::Route& route) {
    route.on_miss = config::OnMiss::Forward;
    route.upstream = "http://origin.test";
  }));
}

TEST(RefusesAgain, OnlyWhenToldToAndOnlyForCapturedClientsOfReplay) {
  ReplayContext context;
  FakeExchange exchange;
  exchange.about.mode = Mode::Replay;
  exchange.from.path = CapturePath::Cgroup;
  const store::Recording refused = recording_of({1, 1, kA, kRefused});
  EXPECT_FALSE(refuses_again(context, exchange, refused)) << "the default answers";
  context.refused = config::ReplayRefused::Refuse;
  EXPECT_TRUE(refuses_again(context, exchange, refused));
  EXPECT_FALSE(refuses_again(context, exchange, recording_of({1, 1, kA, kAnswered})));
  exchange.from.path = CapturePath::Tc;
  EXPECT_TRUE(refuses_again(context, exchange, refused));
  exchange.from.path = CapturePath::Explicit;
  EXPECT_FALSE(refuses_again(context, exchange, refused)) << "its connection is one to a proxy";
  exchange.from.path = CapturePath::Cgroup;
  exchange.about.mode = Mode::Hybrid;
  EXPECT_FALSE(refuses_again(context, exchange, refused));
}

}  // namespace
}  // namespace tapdeck::modes
