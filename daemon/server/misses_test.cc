#include "daemon/server/misses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/server/websocket_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: api.test\r\n\r\n";
}

TEST(Misses, CountEqualOnesAndKeepSoManyDifferent) {
  Misses misses;
  for (int i = 0; i < 3; ++i) misses.add({"GET", "http://a/", "nothing like it"});
  ASSERT_EQ(misses.list().size(), 1U);
  EXPECT_EQ(misses.list()[0].count, 3U);
  for (size_t i = 0; i < 2 * Misses::kKept; ++i) misses.add({"GET", "http://a/" + std::to_string(i), ""});
  EXPECT_EQ(misses.list().size(), Misses::kKept);
  misses.add({"GET", "http://a/", "nothing like it"});
  EXPECT_EQ(misses.list()[0].count, 4U);
}

TEST(Misses, OfALongUrlHoldTheBeginning) {
  Misses misses;
  misses.add({"GET", std::string(100'000, 'x'), ""});
  EXPECT_EQ(misses.list()[0].url.size(), Misses::kUrlBytes);
}

TEST(Misses, OfAWorkerNameTheRequestAndWhatCameNearest) {
  RigOptions options;
  options.config.redact.query = {"token"};
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(get("/items?page=1")), HasSubstr(" 200 "));
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(get("/items?page=2&token=hunter2")), HasSubstr(" 502 "));
  EXPECT_THAT(rig.ask(get("/items?page=1")), HasSubstr(" 200 ")) << "no miss";
  ASSERT_TRUE(eventually([&] { return !rig.misses.list().empty(); }));
  ASSERT_EQ(rig.misses.list().size(), 1U);
  const MissedRequest missed = rig.misses.list()[0];
  EXPECT_EQ(missed.method, "GET");
  EXPECT_THAT(missed.url, StartsWith("http://api.test/items?page=2&token=[redacted:"));
  EXPECT_THAT(missed.reason, ::testing::MatchesRegex("nearest [0-9]+: differs in query"));
}

TEST(Misses, OfAWebSocketTellTheRuleThatWouldHaveMatched) {
  WorkerRig rig;
  {
    ScriptedOrigin origin([](Wire& wire) {
      wire.read_until("\r\n\r\n");
      wire.write(upgrade_response());
      wire.rest();
      return ScriptedOrigin::End::Close;
    });
    rig.go_to(origin.endpoint());
    MessageWire client = open_websocket(rig, "/graphql");
    client.wire().write(client_text(R"({"id":"a","type":"subscribe","at":1})"));
    client.wire().close();
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  }
  rig.set_mode(Mode::Replay);
  MessageWire client = open_websocket(rig, "/graphql");
  client.wire().write(client_text(R"({"id":"b","type":"subscribe","at":2})"));
  EXPECT_EQ(client.next(), "close 1008 message 1: differs at $.at") << "of what would mend it a program has no use";
  client.wire().close();
  ASSERT_TRUE(eventually([&] { return !rig.misses.list().empty(); }));
  EXPECT_THAT(rig.misses.list()[0].reason,
              ::testing::MatchesRegex("nearest [0-9]+, message 1: differs at \\$.at; if that is made anew each time: "
                                      "ignore = ..\\$.at., .\\$.id.. in .routes.websocket."));
}

TEST(Misses, OfAWorkerHoldConnectionsThatCannotBeOnTape) {
  RigOptions options;
  options.mode = Mode::Replay;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write("\x01\x02 no HTTP at all\r\n\r\n");
  wire.rest();
  ASSERT_TRUE(eventually([&] { return !rig.misses.list().empty(); }));
  EXPECT_EQ(rig.misses.list()[0].method, "");
  EXPECT_EQ(rig.misses.list()[0].url, origin.endpoint().to_string());
}

}  // namespace
}  // namespace tapdeck::server
