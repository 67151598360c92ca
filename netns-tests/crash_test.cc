// kill -9 during a recording load, fifty times: every response that a client saw complete is replayable after restart.
// And in the middle of a response that goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <sstream>
#include <thread>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

std::string body_of(const std::string& path) {
  return "answer to " + path + " " + std::string(2000, 'c');
}

TEST(Crash, EveryResponseAClientSawCompleteIsReplayableAfterFiftyKills) {
  Captured captured;
  auto origin = std::make_unique<ScriptedOrigin>(captured.lab().origin(), 80, std::nullopt, [](Peer& peer) {
    for (auto request = peer.read_request(); !request.empty(); request = peer.read_request()) {
      if (!peer.stream().send(ok_response(body_of(target_of(request))))) return;
    }
  });
  constexpr int kKills = 50;
  constexpr long kPerRound = 100000;
  std::vector<std::string> complete;
  for (int round = 0; round < kKills; ++round) {
    // While the daemon is dead the capture is open and answers come from the origin: they are not recorded, so only
    // what was complete before the kill counts. The client goes first, then its list is read.
    Process client(seated(captured.seat(), {lab_peer_binary(), "load", kOriginV4, "80", "--flows",
                                            std::to_string(kPerRound), "--parallel", "8", "--numbered", "--first",
                                            std::to_string(round * kPerRound), "--path", "/r"}));
    ASSERT_TRUE(eventually(10s, [&] { return client.err().size() > 200 + 37 * static_cast<size_t>(round % 7); }));
    client.signal(SIGSTOP);  // it sees nothing between the daemon's death and its own
    const auto seen = client.err();
    captured.daemon().kill();
    client.signal(SIGKILL);
    static_cast<void>(client.wait(5s));
    std::istringstream lines(seen);
    for (std::string path; std::getline(lines, path);) complete.push_back(path);
    captured.daemon().start();
  }
  origin->stop();
  captured.replay();
  ASSERT_GT(complete.size(), 300U);
  std::string requests;
  std::string wanted;
  std::vector<std::string> lost;
  // One connection, pipelined in order: thousands of processes would only be slower.
  for (size_t i = 0; i < complete.size(); ++i) {
    requests += "GET " + complete[i] + " HTTP/1.1\r\nHost: origin.test\r\n" +
                (i + 1 == complete.size() ? "Connection: close\r\n" : "") + "\r\n";
  }
  const auto output = raw_tcp(captured.seat(), kOriginV4, 80, requests);
  for (const auto& path : complete) {
    if (output.out.find("\r\n\r\n" + body_of(path)) == std::string::npos) lost.push_back(path);
  }
  EXPECT_THAT(lost, ::testing::IsEmpty()) << lost.size() << " of " << complete.size();
  EXPECT_EQ(captured.daemon().metric("tapdeck_misses_total"), 0.0);
}

std::string event(int number) {
  return "data: " + std::to_string(100 + number) + "\n\n";
}

// One event every 200 ms, for ever.
void send_events(Peer& peer) {
  if (peer.read_request().empty()) return;
  bool open =
      peer.stream().send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int number = 0; open; ++number) {
    open = peer.stream().send("b\r\n" + event(number) + "\r\n");
    static_cast<void>(eventually(200ms, [] { return false; }));  // nothing is awaited: this is the stream's pace
  }
}

// What the client has seen for two seconds is on tape, and readers see it before anybody has recorded again.
void lose_daemon_in_the_middle_of_a_stream(const std::function<void(DaemonProcess&)>& lose) {
  Captured captured(CaptureBy::Interface);
  auto origin = std::make_unique<ScriptedOrigin>(captured.lab().origin(), 80, std::nullopt, send_events);
  Stream client = captured.connect(kOriginV4, 80);
  ASSERT_TRUE(client.send(get_request("/events")));
  ASSERT_THAT(client.read_until(event(12)), ::testing::HasSubstr(event(0))) << client.error();
  lose(captured.daemon());
  EXPECT_TRUE(eventually(10s, [&] { return !captured.daemon().running(); }));
  origin->stop();
  EXPECT_THAT(captured.daemon().must_cli({"recording", "list"}), ::testing::HasSubstr("/events"));
  captured.daemon().start();
  captured.replay();
  const auto replayed = raw_tcp(captured.seat(), kOriginV4, 80, get_request("/events"));
  EXPECT_THAT(replayed.out, ::testing::HasSubstr(event(0) + event(1) + event(2)));
}

TEST(Crash, AStreamLeavesWhatTheClientHasSeen) {
  lose_daemon_in_the_middle_of_a_stream([](DaemonProcess& daemon) { daemon.kill(); });
}

TEST(Crash, ASecondSignalLeavesAsMuchOfAStream) {
  lose_daemon_in_the_middle_of_a_stream([](DaemonProcess& daemon) {
    daemon.signal(SIGTERM);
    EXPECT_TRUE(eventually(5s, [&] { return daemon.log().find("serve.stopping") != std::string::npos; }));
    // Until it is no longer blocked, which the log says a moment too early.
    EXPECT_TRUE(eventually(10s, [&] {
      daemon.signal(SIGTERM);
      return !daemon.running();
    }));
  });
}

// A target that names no mode: it follows what was set for the daemon, not what the configuration says.
TEST(Crash, AModeSetForTheDaemonOutlivesItsDeath) {
  Captured captured(CaptureBy::Interface);
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, [](Peer& peer) {
    for (auto request = peer.read_request(); !request.empty(); request = peer.read_request()) {
      if (!peer.stream().send(ok_response(body_of(target_of(request))))) return;
    }
  });
  const auto ask = [&](const std::string& path) {
    return raw_tcp(captured.seat(), kOriginV4, 80, get_request(path)).out;
  };
  EXPECT_THAT(ask("/kept"), ::testing::HasSubstr(body_of("/kept")));
  ASSERT_TRUE(eventually(10s, [&] { return captured.recordings() == 1; }));
  captured.daemon().must_cli({"mode", "set", "replay"});
  captured.daemon().kill();
  captured.daemon().start();
  EXPECT_THAT(ask("/kept"), ::testing::HasSubstr(body_of("/kept")));
  EXPECT_THAT(ask("/new"), ::testing::HasSubstr("502")) << "the origin was asked";
  EXPECT_EQ(captured.recordings(), 1U);
  EXPECT_THAT(captured.daemon().log(), ::testing::HasSubstr("mode.kept"));
}

}  // namespace
}  // namespace tapdeck::lab
