// Who may see whose traffic: recordings of one session never answer a target of another, a forged Host leads nowhere
// but to the address that was dialled. That we are not reached through ourselves: proxy_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Tenants, RecordingsOfOneSessionNeverAnswerATargetOfAnother) {
  Topology lab;
  DaemonProcess daemon(lab);
  Cgroup red("red");
  Cgroup blue("blue");
  Process red_resident({.argv = {"sleep", "infinity"}, .netns = &lab.client(), .cgroup = &red});
  Process blue_resident({.argv = {"sleep", "infinity"}, .netns = &lab.client(), .cgroup = &blue});
  const auto red_target = daemon.attach_cgroup(red, {"--session", "red"});
  const auto blue_target = daemon.attach_cgroup(blue, {"--session", "blue"});
  const auto ask = [&](const Cgroup& who, const std::string& path) {
    return parse_raw(raw_tcp({.lab = lab, .cgroup = &who}, kOriginV4, 80, get_request(path)).out).body;
  };
  {
    int served = 0;
    ScriptedOrigin origin(lab.origin(), 80, std::nullopt, [&](Peer& peer) {
      static_cast<void>(peer.read_request());
      peer.stream().send(ok_response("answer " + std::to_string(++served)));
    });
    EXPECT_EQ(ask(red, "/same"), "answer 1");
    EXPECT_EQ(ask(blue, "/same"), "answer 2");
    EXPECT_EQ(ask(red, "/of-red-only"), "answer 3");
  }
  daemon.must_cli({"mode", "set", "replay", "--target", red_target});
  daemon.must_cli({"mode", "set", "replay", "--target", blue_target});
  EXPECT_EQ(ask(red, "/same"), "answer 1");
  EXPECT_EQ(ask(blue, "/same"), "answer 2");
  EXPECT_EQ(ask(red, "/of-red-only"), "answer 3");
  const auto miss = nlohmann::json::parse(ask(blue, "/of-red-only"));
  EXPECT_EQ(miss["error"], "not_recorded");
  EXPECT_THAT(miss["nearest"].dump(), Not(HasSubstr("\"recorded\":\"/of-red-only\""))) << "not even by name";
  for (const auto& near : miss["nearest"]) EXPECT_FALSE(near["differs"].empty()) << miss;
}

// Squid's CVE-2009-0801: a transparent proxy that believes Host can be sent anywhere by whoever writes it.
TEST(Tenants, AForgedHostGoesToTheAddressThatWasDialledAndTheRecordingSaysWhich) {
  Captured captured;
  ScriptedOrigin dialled(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("dialled")}}));
  ScriptedOrigin named(captured.lab().origin(), 81, std::nullopt, answers({{"/", ok_response("named")}}));
  for (const std::string host : {"bank.test", "10.77.2.2:81", "127.0.0.1:9909"}) {
    const auto request = "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, request).out).body, "dialled") << host;
  }
  EXPECT_EQ(named.connections(), 0U);
  const auto& daemon = captured.daemon();
  const auto list = nlohmann::json::parse(daemon.must_cli({"recording", "list", "--host", "bank.test", "--json"}));
  ASSERT_EQ(list["items"].size(), 1U) << list;
  const auto shown = nlohmann::json::parse(
      daemon.must_cli({"recording", "show", list["items"][0]["id"].get<std::string>(), "--json"}));
  EXPECT_THAT(shown["provenance"].dump(), HasSubstr("10.77.2.2:80")) << shown;
}

TEST(Tenants, AHostThatIsNotTheNameOfItsTlsSessionIsADifferentRequest) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 443, captured.lab().leaf(), answers({{"/", ok_response("x")}}));
  const std::string fronted = "GET / HTTP/1.1\r\nHost: v4.origin.test\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(parse_raw(raw_https(captured.seat(), kOriginV4, "origin.test", fronted).out).body, "x");
  captured.replay();
  EXPECT_EQ(parse_raw(raw_https(captured.seat(), kOriginV4, "origin.test", fronted).out).body, "x");
  const auto honest = raw_https(captured.seat(), kOriginV4, "v4.origin.test", fronted);
  EXPECT_THAT(honest.out, HasSubstr("not_recorded"));
}

}  // namespace
}  // namespace tapdeck::lab
