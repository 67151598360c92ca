// WebSockets with real implementations: no verdict of the conformance cases changes through us or in replay, the modes
// of replay with a real client, TLS, hybrid mode, and what a kill -9 leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"
#include "netns-tests/proxied.h"

namespace tapdeck::lab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kClients = std::string(TAPDECK_LAB_SOURCE) + "/clients/";

// An echo server in the origin namespace: "python" is the websockets library, "node" is ws, "node-h2" is ws over
// HTTP/2 by extended CONNECT, on port 8090.
class WebSocketServer {
 public:
  // In clear on port 80, or with the lab's certificate on 443.
  enum class Wire { Clear, Tls };
  WebSocketServer(Topology& lab, const std::string& kind, Wire wire = Wire::Clear) {
    const bool h2 = kind == "node-h2";
    const std::vector<std::string> argv =
        kind == "python"
            ? std::vector<std::string>{"/usr/bin/python3", kClients + "websocket_server.py"}
            : std::vector<std::string>{"node", kClients + (h2 ? "websocket_h2_server.js" : "websocket_server.js")};
    ProcessOptions options{.argv = argv, .netns = &lab.origin()};
    options.argv.emplace_back(h2 ? "8090" : wire == Wire::Clear ? "80" : "443");
    if (wire == Wire::Tls) options.argv.insert(options.argv.end(), {lab.leaf().certificate, lab.leaf().key});
    const std::string url = h2                    ? "http://10.77.2.2:8090/ready"
                            : wire == Wire::Clear ? "http://10.77.2.2/ready"
                                                  : "https://10.77.2.2/ready";
    const std::string version = h2 ? "--http2-prior-knowledge" : "--http1.1";
    process_ = std::make_unique<Process>(options);
    const auto ready = [&] {
      return run_to_end({.argv = {"curl", "-sfk", version, url}, .netns = &lab.origin()}).status == 0;
    };
    if (!eventually(20s, [&] { return !process_->running() || ready(); }) || !process_->running()) {
      raise("the WebSocket server did not start: " + process_->err());
    }
  }
  void stop() { process_.reset(); }

 private:
  std::unique_ptr<Process> process_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// A line a case.
std::vector<std::string> verdicts(const Seat& seat) {
  const auto output = run_in(seat, {"/usr/bin/python3", "-B", kClients + "websocket_client.py", kOriginV4, "80"}, "",
                             std::chrono::seconds(120));
  EXPECT_EQ(output.status, 0) << output.err;
  return lines_of(output.out);
}

std::vector<std::string> talk(const Seat& seat, const std::string& path, const std::vector<std::string>& words,
                              const std::string& origin = "ws://" + std::string(kOriginV4)) {
  std::vector<std::string> argv = {"/usr/bin/python3", kClients + "websocket_talk.py", origin + path};
  argv.insert(argv.end(), words.begin(), words.end());
  const auto output = run_in(seat, argv);
  EXPECT_EQ(output.status, 0) << output.err;
  return lines_of(output.out);
}

// The same over HTTP/2 in clear.
std::vector<std::string> talk_h2(const Seat& seat, const std::string& path, const std::vector<std::string>& words) {
  std::vector<std::string> argv = {"node", kClients + "websocket_h2_talk.js", std::string("http://") + kProxy, path};
  argv.insert(argv.end(), words.begin(), words.end());
  const auto output = run_in(seat, argv);
  EXPECT_EQ(output.status, 0) << output.err;
  return lines_of(output.out);
}

DaemonOptions with_route(const std::string& websocket, const std::string& mode = "record") {
  DaemonOptions options;
  options.mode = mode;
  options.sections["[routes]"] = "name = \"chat\"\n[routes.websocket]\n" + websocket;
  return options;
}

class WebSocketCases : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Server, WebSocketCases, ::testing::Values("python", "node"),
                         [](const auto& info) { return info.param; });

TEST_P(WebSocketCases, NoVerdictChangesThroughUsOrInReplay) {
  Captured captured;
  WebSocketServer server(captured.lab(), GetParam());
  const Seat direct{.lab = captured.lab()};
  const auto wanted = verdicts(direct);
  ASSERT_GE(wanted.size(), 200U);
  EXPECT_THAT(wanted, ::testing::Not(::testing::Contains(HasSubstr("timeout"))));
  EXPECT_EQ(verdicts(captured.seat()), wanted) << "through the daemon";
  EXPECT_GE(captured.daemon().metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 200.0);
  server.stop();
  captured.replay();
  EXPECT_EQ(verdicts(captured.seat()), wanted) << "replayed";
  EXPECT_EQ(captured.daemon().metric("tapdeck_misses_total"), 0.0);
}

TEST(WebSocket, ReplayOfARealClientKeepsItsOrderAndItsCloseCode) {
  Captured captured;
  WebSocketServer server(captured.lab(), "node");
  const std::vector<std::string> words = {"-5", "one", "-1", "two", "-1"};
  const auto recorded = talk(captured.seat(), "/push", words);
  EXPECT_EQ(recorded.back(), "closed 1000 ");
  EXPECT_EQ(recorded.size(), 8U);
  const auto closed = talk(captured.seat(), "/close-4001", {"go", "stay"});
  EXPECT_THAT(closed, ElementsAre("< go", "closed 4001 as asked"));
  server.stop();
  captured.replay();
  EXPECT_EQ(talk(captured.seat(), "/push", words), recorded);
  EXPECT_EQ(talk(captured.seat(), "/close-4001", {"go", "stay"}), closed);
}

TEST(WebSocket, OverTlsItIsRecordedAndReplayedTheSame) {
  Captured captured;
  WebSocketServer server(captured.lab(), "python", WebSocketServer::Wire::Tls);
  const std::vector<std::string> words = {"-5", "one", "-1", "two", "-1"};
  const auto ask = [&] { return talk(captured.seat(), "/push", words, "wss://v4.origin.test"); };
  const auto recorded = ask();
  EXPECT_EQ(recorded.size(), 8U);
  EXPECT_EQ(recorded.back(), "closed 1000 ");
  EXPECT_EQ(captured.daemon().metric("tapdeck_websocket_messages_total", {"direction=\"up\""}), 3.0);
  server.stop();
  captured.replay();
  EXPECT_EQ(ask(), recorded);
}

TEST(WebSocket, AResetComesBehindEverythingInReplayToo) {
  for (const std::string scheme : {"ws", "wss"}) {
    Captured captured;
    WebSocketServer server(captured.lab(), "python",
                           scheme == "ws" ? WebSocketServer::Wire::Clear : WebSocketServer::Wire::Tls);
    const auto ask = [&] { return talk(captured.seat(), "/reset", {"go", "stay"}, scheme + "://v4.origin.test"); };
    const auto recorded = ask();
    EXPECT_EQ(recorded.size(), 302U) << scheme;  // the echo, 300, and how it ended
    EXPECT_EQ(recorded.back(), "closed 1006 ");
    server.stop();
    captured.replay();
    EXPECT_TRUE(ask() == recorded) << scheme;
    EXPECT_EQ(captured.daemon().metric("tapdeck_misses_total"), 0.0);
  }
}

// Extended CONNECT on either side of us, and what a client of one version recorded is replayed to one of the other.
TEST(WebSocket, OverHttp2OnEitherSideItIsRecordedAndReplayedTheSame) {
  DaemonOptions options;
  options.routes =
      "[[routes]]\nname = \"h2\"\npath_prefix = \"/h2/\"\nupstream = \"h2c://10.77.2.2:8090\"\nrewrite_path = \"/\"\n"
      "[[routes]]\nname = \"h1\"\npath_prefix = \"/h1/\"\nupstream = \"http://10.77.2.2\"\nrewrite_path = \"/\"\n";
  Proxied proxied(options);
  WebSocketServer modern(proxied.lab(), "node-h2");
  WebSocketServer old(proxied.lab(), "node");
  const Seat seat{.lab = proxied.lab()};
  const auto ask = [&](bool h2, const std::string& path, const std::vector<std::string>& words) {
    return h2 ? talk_h2(seat, path, words) : talk(seat, path, words, std::string("ws://") + kProxy);
  };
  const std::vector<std::string> words = {"-5", "one", "-1", "two", "-1"};
  const std::vector<std::string> pushed = {"< push 0", "< push 1", "< push 2", "< push 3",
                                           "< push 4", "< one",    "< two",    "closed 1000 "};
  for (const bool replayed : {false, true}) {
    for (const std::string upstream : {"/h2/", "/h1/"}) {
      for (const bool h2 : {false, true}) {
        const std::string own = std::string("?by=") + (h2 ? "h2" : "h1");
        const std::string what = upstream + own + (replayed ? ", replayed" : ", recorded");
        EXPECT_EQ(ask(h2, upstream + "push" + own, words), pushed) << what;
        EXPECT_THAT(ask(h2, upstream + "close-4001" + own, {"go", "stay"}), ElementsAre("< go", "closed 4001 as asked"))
            << what;
        if (replayed) EXPECT_EQ(ask(!h2, upstream + "push" + own, words), pushed) << what << " to the other version";
      }
    }
    if (replayed) break;
    EXPECT_TRUE(eventually(10s, [&] {
      return proxied.daemon().metric("tapdeck_requests_total", {"outcome=\"recorded\""}) == 8.0;
    })) << proxied.daemon().metric("tapdeck_requests_total", {"outcome=\"recorded\""});
    modern.stop();
    old.stop();
    proxied.set_mode("replay");
  }
  EXPECT_EQ(proxied.daemon().metric("tapdeck_requests_total", {"outcome=\"replayed\""}), 12.0);
}

TEST(WebSocket, MismatchClosesWith1008AndSaysWhatDiffered) {
  Captured captured(CaptureBy::Cgroup, with_route("mode = \"matched\"\nignore = [\"$.id\"]\n"));
  WebSocketServer server(captured.lab(), "python");
  talk(captured.seat(), "/echo", {R"({"id":"a1","q":1})", "-1"});
  server.stop();
  captured.replay();
  EXPECT_THAT(talk(captured.seat(), "/echo", {R"({"q": 1, "id": "b2"})", "-1"}),
              ElementsAre(R"(< {"id":"b2","q":1})", "closed 1000 "))
      << "the fresh id, in the recorded answer";
  EXPECT_THAT(talk(captured.seat(), "/echo", {R"({"id":"a1","q":2})", "stay"}),
              ElementsAre("closed 1008 message 1: differs at $.q"));
  EXPECT_EQ(captured.daemon().metric("tapdeck_misses_total", {"reason=\"websocket\""}), 1.0);
  EXPECT_EQ(captured.daemon().metric("tapdeck_requests_total", {"outcome=\"missed\""}), 1.0);
}

TEST(WebSocket, BidirectionalAndServerOnlyAreWhatTheySay) {
  for (const std::string mode : {"bidirectional", "server-only"}) {
    Captured captured(CaptureBy::Cgroup, with_route("mode = \"" + mode + "\"\n"));
    WebSocketServer server(captured.lab(), "node");
    talk(captured.seat(), "/push", {"-5", "one", "-1"});
    server.stop();
    captured.replay();
    if (mode == "server-only") {
      EXPECT_EQ(talk(captured.seat(), "/push", {"-6", "whatever"}).size(), 7U);
    } else {
      EXPECT_THAT(talk(captured.seat(), "/push", {"-5", "One", "stay"}).back(),
                  "closed 1008 message 1: differs at byte 0");
    }
  }
}

TEST(WebSocket, HybridRecordsTheFirstAndReplaysTheSecond) {
  Captured captured(CaptureBy::Cgroup, {.mode = "hybrid"});
  WebSocketServer server(captured.lab(), "python");
  const auto first = talk(captured.seat(), "/echo", {"hello", "-1"});
  EXPECT_THAT(first, ElementsAre("< hello", "closed 1000 "));
  server.stop();
  EXPECT_EQ(talk(captured.seat(), "/echo", {"hello", "-1"}), first);
  EXPECT_EQ(captured.daemon().metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 1.0);
  EXPECT_EQ(captured.daemon().metric("tapdeck_requests_total", {"outcome=\"replayed\""}), 1.0);
}

TEST(WebSocket, MessagesOfALivingConnectionSurviveAKill) {
  Captured captured;
  WebSocketServer server(captured.lab(), "node");
  Process client(seated(captured.seat(), {"/usr/bin/python3", kClients + "websocket_talk.py",
                                          "ws://" + std::string(kOriginV4) + "/push", "one", "two", "stay"}));
  ASSERT_TRUE(eventually(20s, [&] { return lines_of(client.out()).size() == 7; })) << client.out() << client.err();
  ASSERT_TRUE(eventually(10s, [&] { return captured.daemon().metric("tapdeck_websocket_messages_total") == 9.0; }));
  // What passed is in the log 100 ms later: that is the promise, and nothing outside shows it sooner.
  const auto passed = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually(5s, [&] { return std::chrono::steady_clock::now() - passed > 500ms; }));
  captured.daemon().kill();
  captured.daemon().start();
  const auto list = nlohmann::json::parse(captured.daemon().must_cli({"recording", "list", "--json"}));
  ASSERT_EQ(list["items"].size(), 1U);
  EXPECT_EQ(list["items"][0]["outcome"], "incomplete");
  const std::string id = list["items"][0]["id"];
  const auto shown = nlohmann::json::parse(captured.daemon().must_cli({"recording", "show", id, "--json"}));
  EXPECT_EQ(shown["messages"].size(), 9U) << shown.dump(1);
  EXPECT_EQ(captured.daemon().must_cli({"recording", "show", id, "--body"}), "push 0push 1push 2push 3push 4onetwo");
}

TEST(WebSocket, WhatWasSaidBeforeACloseThatAClientSawSurvivesAKill) {
  Captured captured;
  WebSocketServer server(captured.lab(), "node");
  for (int round = 0; round < 5; ++round) {
    EXPECT_THAT(talk(captured.seat(), "/close-4001", {"go", "stay"}), ElementsAre("< go", "closed 4001 as asked"));
    captured.daemon().kill();
    captured.daemon().start();
    const auto list = nlohmann::json::parse(captured.daemon().must_cli({"recording", "list", "--json"}));
    ASSERT_EQ(list["items"].size(), static_cast<size_t>(round + 1));
    const std::string id = list["items"].back()["id"];
    const auto shown = nlohmann::json::parse(captured.daemon().must_cli({"recording", "show", id, "--json"}));
    EXPECT_GE(shown["messages"].size(), 3U) << shown.dump(1);
  }
}

}  // namespace
}  // namespace tapdeck::lab
