// An orderly stop under traffic: new flows of open targets go direct at once, what is open may finish within the drain
// timeout and is on tape afterwards, and what takes longer is cut when it is over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

// Answers /slow when it is let go, everything else at once.
struct SlowOrigin {
  explicit SlowOrigin(Topology& lab)
      : origin(lab.origin(), 80, std::nullopt, [this](Peer& peer) {
          const auto target = target_of(peer.read_request());
          if (target == "/slow") static_cast<void>(eventually(20s, [this] { return go.load(); }));
          peer.stream().send(ok_response("answer to " + target));
        }) {}
  std::atomic<bool> go{false};
  ScriptedOrigin origin;
};

std::unique_ptr<Process> ask_slowly(const Seat& seat) {
  auto options = seated(seat, {lab_peer_binary(), "bytes", kOriginV4, "80"});
  options.input = get_request("/slow");
  return std::make_unique<Process>(options);
}

TEST(Drain, NewFlowsGoDirectWhileOpenOnesFinishAndAreRecorded) {
  Captured captured;
  SlowOrigin slow(captured.lab());
  const auto client = ask_slowly(captured.seat());
  ASSERT_TRUE(eventually(5s, [&] { return slow.origin.requests() == 1; }));
  captured.daemon().signal(SIGTERM);
  EXPECT_TRUE(eventually(5s, [&] { return captured.daemon().log().find("serve.stopping") != std::string::npos; }));
  EXPECT_EQ(parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/direct")).out).body, "answer to /direct");
  EXPECT_TRUE(captured.daemon().running()) << "it waits for the open exchange";
  slow.go = true;
  EXPECT_EQ(client->wait(10s), 0) << client->err();
  EXPECT_EQ(parse_raw(client->out()).body, "answer to /slow");
  EXPECT_TRUE(eventually(10s, [&] { return !captured.daemon().running(); }));
  captured.daemon().start();
  EXPECT_EQ(captured.recordings(), 1U) << "the slow one; the direct one went past us";
}

TEST(Drain, WhatTakesLongerIsCutAtTheDeadline) {
  DaemonOptions options;
  options.sections["limits"] = "drain_timeout = \"1s\"\n";
  Captured captured(CaptureBy::Cgroup, options);
  SlowOrigin slow(captured.lab());
  const auto client = ask_slowly(captured.seat());
  ASSERT_TRUE(eventually(5s, [&] { return slow.origin.requests() == 1; }));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(captured.daemon().stop(), 0);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 900ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 6s);
  EXPECT_NE(client->wait(5s), std::nullopt);
  EXPECT_EQ(client->out().find("answer"), std::string::npos);
  slow.go = true;
}

}  // namespace
}  // namespace tapdeck::lab
