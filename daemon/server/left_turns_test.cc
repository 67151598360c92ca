// Exchanges that their client left, among others of the same request that were answered: in replay each is in its
// place.
#include <gmock/gmock.h>

#include <atomic>

#include "daemon/server/grpc_rig.h"
#include "daemon/server/h2_wire.h"

namespace tapdeck::server {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view kNoneMatch = "If-None-Match: \"a\"\r\n";

RigOptions repeating(config::Repeat repeat) {
  RigOptions options;
  options.config.limits.idle_timeout = std::chrono::milliseconds(300);
  config::Route& route = options.config.routes.emplace_back();
  route.upstream_http = config::UpstreamHttp::V1;
  route.repeat = repeat;
  return options;
}

// What the client does with its n-th request is the n-th letter of a plan. a: it is answered "answer n"; n: likewise,
// with 304; b: it leaves behind the begin of an answer, "begin n"; q: it leaves before any answer.
class LeftTurns : public testing::TestWithParam<config::Repeat> {
 protected:
  LeftTurns() { rig.go_to(origin.endpoint()); }

  static std::string get(std::string_view fields = {}, std::string_view method = "GET") {
    return std::string(method) + " /a HTTP/1.1\r\nHost: api.test\r\n" + std::string(fields) + "\r\n";
  }
  std::string answer() {
    const int number = ++asked;
    const std::string name = std::to_string(number);
    switch (plan[static_cast<size_t>(number - 1)]) {
      case 'a':
        return "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: " + std::to_string(7 + name.size()) +
               "\r\n\r\nanswer " + name;
      case 'n':
        return "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n";
      case 'b':
        return "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 100\r\n\r\nbegin " + name;
      default:
        return {};
    }
  }
  void act(char step, std::string_view fields) {
    const int before = asked;
    if (step == 'a' || step == 'n') {
      EXPECT_THAT(rig.ask(get(fields)), EndsWith("<EOF>"));
    } else {
      Wire wire = rig.connect();
      EXPECT_TRUE(wire.write(get(fields)));
      EXPECT_TRUE(eventually([&] { return asked == before + 1; }));
      if (step == 'b') wire.read_until("begin " + std::to_string(before + 1));
      wire.reset();
    }
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == static_cast<uint64_t>(before + 1); }));
  }
  void record(const std::string& steps, std::string_view fields = {}) {
    plan += steps;
    for (const char step : steps) act(step, fields);
  }
  void play(Mode mode) {
    if (mode == Mode::Replay) origin.stop();
    rig.set_mode(mode);
  }
  // What a client hears that does not leave by itself: the last line, "304", "miss" or nothing, and how it ended.
  std::string hear(std::string_view fields = {}) {
    const std::string all = rig.ask(get(fields));
    if (all.contains(" 304 ")) return "304";
    if (all.contains("not_recorded")) return "miss";
    const size_t body = all.find("\r\n\r\n");
    return body == std::string::npos ? all : all.substr(body + 4);
  }
  std::vector<std::string> hear_all(int times, std::string_view fields = {}) {
    std::vector<std::string> out;
    for (int i = 0; i < times; ++i) out.push_back(hear(fields));
    return out;
  }

  std::string plan;
  std::atomic<int> asked{0};
  WorkerRig rig{repeating(GetParam())};
  ScriptedOrigin origin{http_origin([this](const std::string&) { return answer(); })};
};
INSTANTIATE_TEST_SUITE_P(, LeftTurns,
                         testing::Values(config::Repeat::InOrder, config::Repeat::Latest, config::Repeat::Cycle,
                                         config::Repeat::Once));

using LeftInOrder = LeftTurns;
INSTANTIATE_TEST_SUITE_P(, LeftInOrder, testing::Values(config::Repeat::InOrder));

TEST_P(LeftTurns, EachRequestIsGivenWhatItWasGivenThen) {
  record("qabaq");
  play(Mode::Replay);
  switch (GetParam()) {
    case config::Repeat::InOrder:
      EXPECT_THAT(hear_all(7), ElementsAre("<RST>", "answer 2<EOF>", "begin 3<RST>", "answer 4<EOF>", "<RST>",
                                           "answer 4<EOF>", "answer 4<EOF>"))
          << "what was left last is not repeated";
      break;
    case config::Repeat::Latest:
      EXPECT_THAT(hear_all(2), ElementsAre("answer 4<EOF>", "answer 4<EOF>"));
      break;
    case config::Repeat::Cycle:
      EXPECT_THAT(hear_all(7), ElementsAre("<RST>", "answer 2<EOF>", "begin 3<RST>", "answer 4<EOF>", "<RST>", "<RST>",
                                           "answer 2<EOF>"));
      break;
    case config::Repeat::Once:
      EXPECT_THAT(hear_all(6), ElementsAre("<RST>", "answer 2<EOF>", "begin 3<RST>", "answer 4<EOF>", "<RST>", "miss"));
      break;
  }
}

TEST_P(LeftTurns, WhereTheOriginCanBeAskedTheyAreNoAnswers) {
  record("qaq");
  plan += 'a';
  play(Mode::Hybrid);
  EXPECT_EQ(hear(), "answer 2<EOF>");
  EXPECT_EQ(hear(), GetParam() == config::Repeat::Once ? "answer 4<EOF>" : "answer 2<EOF>");
}

TEST_P(LeftInOrder, AClientThatLeavesAgainGoesOnAsItDid) {
  record("qaba");
  play(Mode::Replay);
  Wire silent = rig.connect();
  EXPECT_TRUE(silent.write(get()));
  EXPECT_TRUE(eventually([&] { return rig.observed(Histogram::LookupHit).count == 1; }));
  silent.reset();
  EXPECT_EQ(hear(), "answer 2<EOF>");
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(get()));
  EXPECT_THAT(wire.read_until("begin 3"), StartsWith("HTTP/1.1 200"));
  wire.reset();
  EXPECT_EQ(hear(), "answer 4<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 4; }));
  EXPECT_EQ(rig.outcomes(Mode::Replay, Outcome::Missed), 0U);
}

TEST_P(LeftInOrder, OverHttp2Too) {
  plan = "qaba";
  const auto ask = [&](H2Wire& client, std::string_view until) {
    client.request("GET", "/a");
    return client.until(until);
  };
  {
    Wire raw = rig.connect();
    H2Wire client(raw, http::Role::Client);
    const auto silent = client.request("GET", "/a");
    EXPECT_TRUE(eventually([&] { return asked == 1; }));
    client.codec().reset(silent, http::ResetCode::Cancel);
    EXPECT_THAT(ask(client, "END"), HasSubstr(" 2, END"));
    const auto begun = client.request("GET", "/a");
    EXPECT_THAT(client.until("BODY"), HasSubstr("begin 3"));
    client.codec().reset(begun, http::ResetCode::Cancel);
    EXPECT_THAT(ask(client, "END"), HasSubstr(" 4, END"));
    raw.close();
  }
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 4; }));
  play(Mode::Replay);
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  EXPECT_THAT(ask(client, "END"), HasSubstr(" 2, END")) << "it stayed where another had given up";
  EXPECT_THAT(ask(client, "RESET"), AllOf(HasSubstr("begin 3"), HasSubstr("RESET 3 8")));
  EXPECT_THAT(ask(client, "END"), HasSubstr(" 4, END"));
  raw.close();
}

TEST_P(LeftInOrder, APollIsLeftBetweenTheAnswersToItsCondition) {
  record("a");
  record("nqn", kNoneMatch);
  play(Mode::Replay);
  EXPECT_EQ(hear(), "answer 1<EOF>");
  EXPECT_THAT(hear_all(3, kNoneMatch), ElementsAre("304", "<RST>", "304"));
}

TEST_P(LeftInOrder, NothingIsMadeOfWhatIsNotWhole) {
  record("aba");
  play(Mode::Replay);
  EXPECT_EQ(hear(), "answer 1<EOF>");
  EXPECT_EQ(hear(kNoneMatch), "304") << "by the next whole answer";
  EXPECT_EQ(hear(), "answer 3<EOF>");
}

TEST_P(LeftInOrder, AHeadIsThatOfTheNextAnswer) {
  record("qa");
  play(Mode::Replay);
  EXPECT_THAT(rig.ask(get({}, "HEAD")), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(hear_all(2), ElementsAre("<RST>", "answer 2<EOF>"));
}

TEST(LeftCall, IsLeftAgainBeforeTheOneThatWasAnswered) {
  RigOptions options = repeating(config::Repeat::InOrder);
  WorkerRig rig(std::move(options));
  std::atomic<int> asked{0};
  ScriptedOrigin origin([&asked](Wire& wire) {
    if (!wire.read_until("\r\n" + kEnd).ends_with(kEnd)) return ScriptedOrigin::End::Close;
    if (++asked == 2) {
      wire.write(kHead + message("re:a") + kTrailers);
    } else {
      wire.read_until("\r\n");
    }
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  const std::string whole = call("Unary", "grpc-timeout: 100m\r\n") + message("a") + kEnd;
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(whole));
  EXPECT_TRUE(eventually([&] { return asked == 1; }));
  wire.reset();
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  EXPECT_THAT(rig.ask(whole), HasSubstr("re:a"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(whole), HasSubstr("grpc-status: 4")) << "it stayed beyond its deadline";
  EXPECT_THAT(rig.ask(whole), HasSubstr("re:a"));
  EXPECT_EQ(rig.outcomes(Mode::Replay, Outcome::Missed), 0U);
}

}  // namespace
}  // namespace tapdeck::server
