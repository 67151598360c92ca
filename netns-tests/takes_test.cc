// Where recordings end up: the take that a kept target goes on with after a restart, what runs beside a daemon become;
// and recordings that are deleted while they are replayed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

Script counting(std::atomic<int>& count) {
  return [&count](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("n" + std::to_string(++count)));
  };
}

TEST(Takes, AKeptTargetGoesOnWithItsOwnAfterTheDaemonWasKilled) {
  Captured captured;
  const Cgroup other("other");
  std::atomic<int> count = 0;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, counting(count));
  const auto ask = [&] { return raw_tcp(captured.seat(), kOriginV4, 80, get_request("/n")).out; };
  EXPECT_THAT(ask(), HasSubstr("n1"));
  EXPECT_THAT(ask(), HasSubstr("n2"));
  captured.daemon().attach_cgroup(other);  // its take is the newest of the session
  captured.daemon().kill();
  captured.daemon().start();
  EXPECT_THAT(ask(), HasSubstr("n3"));
  captured.replay();
  EXPECT_THAT(ask(), HasSubstr("n1"));
  EXPECT_THAT(ask(), HasSubstr("n2"));
  EXPECT_THAT(ask(), HasSubstr("n3"));
}

class BesideADaemon : public ::testing::Test {
 protected:
  BesideADaemon() : daemon_(lab_), origin_(lab_.origin(), 80, std::nullopt, counting(count_)) {}
  Output run(std::vector<std::string> flags, const std::string& script) {
    std::vector<std::string> argv = {tapdeck_binary(), "run", "--state-dir", daemon_.state(), "--summary", summary_};
    argv.insert(argv.end(), flags.begin(), flags.end());
    for (const std::string& part : {std::string("--"), std::string("sh"), std::string("-c"), script})
      argv.push_back(part);
    return run_in({.lab = lab_}, argv);
  }
  [[nodiscard]] nlohmann::json summary() const { return nlohmann::json::parse(read_file(summary_), nullptr, false); }

  Topology lab_;
  DaemonProcess daemon_;
  std::atomic<int> count_ = 0;
  ScriptedOrigin origin_;
  const std::string summary_ = (lab_.directory() / "summary.json").string();
  const std::string ask_ = std::string("curl -sS http://") + kOriginV4 + "/n";
};

TEST_F(BesideADaemon, AppendExtendsTheLastTakeAndTheSummaryNamesIt) {
  ASSERT_EQ(run({"--session", "s"}, ask_).out, "n1");
  EXPECT_EQ(summary()["take"], 1);
  ASSERT_EQ(run({"--session", "s"}, ask_).out, "n2");
  EXPECT_EQ(summary()["take"], 2);
  ASSERT_EQ(run({"--session", "s", "--append"}, ask_).out, "n3");
  EXPECT_EQ(summary()["take"], 2);
  EXPECT_EQ(run({"--session", "s", "--mode", "replay"}, ask_ + "; " + ask_).out, "n2n3");
}

TEST_F(BesideADaemon, TheSummaryNamesATakeOfWhatWasNotedAlone) {
  ScriptedOrigin mail(lab_.origin(), 25, std::nullopt, [](Peer& peer) { peer.stream().send("220 ready\n"); });
  const std::string hear = std::string("bash -c 'exec 3<>/dev/tcp/") + kOriginV4 + "/25; read -u 3 line'";
  EXPECT_EQ(run({"--session", "m"}, "true").status, 0);
  EXPECT_EQ(summary()["take"], 0);
  EXPECT_EQ(run({"--session", "m"}, hear).status, 0);
  EXPECT_EQ(summary()["recorded"], 0);
  EXPECT_EQ(summary()["take"], 1);
}

TEST_F(BesideADaemon, AnImportOfTheSameNameMeanwhileLosesNothing) {
  const std::string file = (daemon_.state() / "x.tapdeck").string();
  daemon_.must_cli({"session", "create", "x"});
  daemon_.must_cli({"session", "export", "x", "-o", file});
  const std::string import = tapdeck_binary().string() + " session import " + file + " --name q --config " +
                             daemon_.config().string() + " >&2";
  const Output recorded = run({"--session", "q"}, ask_ + " && " + import);
  ASSERT_EQ(recorded.out, "n1") << recorded.err;
  EXPECT_THAT(recorded.err, HasSubstr("recorded as session q-2"));
  EXPECT_EQ(summary()["session"], "q-2");
  EXPECT_EQ(run({"--session", "q-2", "--mode", "replay"}, ask_).out, "n1");
  EXPECT_THAT(daemon_.log(), HasSubstr("store.merged_as"));
}

TEST(Replay, WhatIsDeletedWhileASlowClientReadsItArrivesWhole) {
  Captured captured(CaptureBy::Interface);
  // More than the buffers of the connection hold.
  std::string body;
  for (int i = 0; body.size() < (48 << 20); ++i) body += std::to_string(i) + "\n";
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/long", ok_response(body)}}));
  ASSERT_THAT(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/long")).out.size(), ::testing::Gt(body.size()));
  captured.replay();
  origin.stop();
  Stream client = captured.connect(kOriginV4, 80);
  ASSERT_TRUE(client.send(get_request("/long")));
  ASSERT_THAT(client.read_until("\r\n\r\n"), HasSubstr("200 OK"));
  std::string read = client.read_exactly(1000);
  const auto list = nlohmann::json::parse(captured.daemon().must_cli({"recording", "list", "--json"}));
  captured.daemon().must_cli({"recording", "delete", list["items"].at(0)["id"]});
  read += client.read_exactly(body.size() - read.size());
  EXPECT_TRUE(read == body) << read.size() << " " << client.error();
}

}  // namespace
}  // namespace tapdeck::lab
