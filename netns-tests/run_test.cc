// `tapdeck run -- CMD` as a person or a CI job uses it: exit codes, signals, summary, record then replay without
// origin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nginx_origin.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

class Run : public ::testing::Test {
 protected:
  // `tapdeck run FLAGS -- COMMAND` in the client namespace; the lab's CA is an upstream CA.
  Output run(std::vector<std::string> flags, const std::vector<std::string>& command) {
    std::vector<std::string> argv = {tapdeck_binary(), "run",           "--state-dir",
                                     state(),          "--upstream-ca", lab_.ca().certificate()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    argv.push_back("--");
    argv.insert(argv.end(), command.begin(), command.end());
    return run_in({.lab = lab_}, argv);
  }
  [[nodiscard]] std::string state() const { return lab_.directory() / "run-state"; }

  Topology lab_;
};

TEST_F(Run, RecordsThenReplaysIdenticalOutputWithTheOriginGone) {
  NginxOrigin origin(lab_, {{"hello.json", "{\"hello\": 1}\n"}});
  const std::vector<std::string> command = {"curl", "-sS", "-i", "https://v4.origin.test/hello.json",
                                            "https://v6.origin.test/hello.json"};
  const auto recorded = run({"--session", "s"}, command);
  ASSERT_EQ(recorded.status, 0) << recorded.err;
  EXPECT_THAT(recorded.err,
              HasSubstr("tapdeck: session s: 2 recorded, 0 replayed, 0 missed, 0 tunnelled, 0 not captured"));
  origin.stop();
  const auto replayed = run({"--session", "s", "--mode", "replay"}, command);
  EXPECT_EQ(replayed.status, 0) << replayed.err;
  EXPECT_EQ(replayed.out, recorded.out);
  EXPECT_THAT(replayed.err, HasSubstr("0 recorded, 2 replayed, 0 missed"));
}

TEST_F(Run, SummaryFileIsJson) {
  NginxOrigin origin(lab_, {{"a.txt", "a"}});
  const auto file = (lab_.directory() / "summary.json").string();
  ASSERT_EQ(run({"--summary", file}, {"curl", "-sS", "https://origin.test/a.txt"}).status, 0);
  const auto summary = nlohmann::json::parse(read_file(file), nullptr, false);
  ASSERT_TRUE(summary.is_object()) << read_file(file);
  EXPECT_EQ(summary.value("session", ""), "default");
  EXPECT_EQ(summary.value("mode", ""), "record");
  EXPECT_EQ(summary.value("recorded", -1), 1);
  EXPECT_EQ(summary.value("exit", -1), 0);
}

TEST_F(Run, ExitStatusIsTheCommands) {
  EXPECT_EQ(run({}, {"sh", "-c", "exit 42"}).status, 42);
  EXPECT_EQ(run({}, {"true"}).status, 0);
}

TEST_F(Run, OwnFailuresAre125To127) {
  EXPECT_EQ(run({}, {"/no/such/program"}).status, 127);
  write_file(lab_.directory() / "not-executable", "text\n");
  EXPECT_EQ(run({}, {lab_.directory() / "not-executable"}).status, 126);
  const auto made = run_to_end({tapdeck_binary(), "session", "create", "shop", "--state-dir", state()});
  ASSERT_EQ(made.status, 0) << made.err;
  const auto unknown = run({"--mode", "replay", "--session", "shpo"}, {"true"});
  EXPECT_EQ(unknown.status, 125);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean 'shop'?"));
  EXPECT_EQ(run({"--mode", "recrod"}, {"true"}).status, 125);
}

TEST_F(Run, DeathBySignalIsPassedOn) {
  // Output::status is 128 + signal only if tapdeck itself died of it.
  EXPECT_EQ(run({}, {"sh", "-c", "kill -KILL $$"}).status, 128 + SIGKILL);
  EXPECT_EQ(run({}, {"sh", "-c", "kill -TERM $$"}).status, 128 + SIGTERM);
}

TEST_F(Run, ForwardsTerminationToTheCommand) {
  Process process(
      seated({.lab = lab_}, {tapdeck_binary(), "run", "--state-dir", state(), "--", "sh", "-c",
                             "trap 'echo got TERM; exit 7' TERM; echo ready; while :; do sleep 0.1; done"}));
  ASSERT_TRUE(eventually(10s, [&] { return process.out() == "ready\n"; })) << process.err();
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(10s), 7);
  EXPECT_THAT(process.out(), HasSubstr("got TERM"));
}

TEST_F(Run, FailOnMissMakesTheStatus3OrTheGivenOne) {
  NginxOrigin origin(lab_, {{"a.txt", "a"}, {"b.txt", "b"}});
  ASSERT_EQ(run({}, {"curl", "-sS", "https://origin.test/a.txt"}).status, 0);
  const std::vector<std::string> other = {"curl", "-sS", "https://origin.test/b.txt"};
  EXPECT_EQ(run({"--mode", "replay"}, other).status, 0) << "curl itself is content with a 502";
  const auto missed = run({"--mode", "replay", "--fail-on-miss", "--summary", "-"}, other);
  EXPECT_EQ(missed.status, 3);
  EXPECT_THAT(missed.err, ::testing::ContainsRegex(
                              "tapdeck: missed: GET https://origin.test/b.txt .nearest [0-9]+: differs in path.\n"));
  EXPECT_THAT(missed.out, HasSubstr("\"misses\":[{\"method\":\"GET\",\"url\":\"https://origin.test/b.txt\""));
  EXPECT_EQ(run({"--mode", "replay", "--fail-on-miss=9"}, other).status, 9);
  EXPECT_EQ(run({"--mode", "replay", "--fail-on-miss"}, {"curl", "-sS", "https://origin.test/a.txt"}).status, 0);
}

TEST_F(Run, SaysThatWhatItRecordedAreFailuresOfTheOrigin) {
  const auto dead = run({"--summary", "-"}, {"curl", "-sS", std::string("http://") + kOriginV4 + "/"});
  EXPECT_THAT(dead.err, HasSubstr("1 recorded"));
  EXPECT_THAT(dead.err, HasSubstr("tapdeck: also: 1 of the recorded failed at the origin\n"));
  EXPECT_THAT(dead.out, HasSubstr("\"recorded\":1,\"failed_recorded\":1"));
}

// The kernel's programs compare the lease with the clock of the initial time namespace.
TEST_F(Run, CapturesFromWithinATimeNamespace) {
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("x"));
  });
  const std::string url = std::string("http://") + kOriginV4 + "/x";
  timespec up{};
  ASSERT_EQ(::clock_gettime(CLOCK_MONOTONIC, &up), 0);
  const std::string behind = "-" + std::to_string(up.tv_sec / 2);  // no clock may be set to before its begin
  for (const std::string& offset : {behind, std::string("100000")}) {
    const Output output = run_in({.lab = lab_}, {"unshare", "-T", "--monotonic", offset, "--fork", tapdeck_binary(),
                                                 "run", "--state-dir", state(), "--", "curl", "-sS", url});
    EXPECT_EQ(output.out, "x") << output.err;
    EXPECT_THAT(output.err, HasSubstr("1 recorded")) << offset;
  }
}

TEST_F(Run, OneThatRecordsNothingLeavesNeitherSessionNorTake) {
  std::atomic<int> count = 0;
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [&count](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("n" + std::to_string(++count)));
  });
  const std::vector<std::string> ask = {"curl", "-sS", std::string("http://") + kOriginV4 + "/n"};
  const std::string file = (lab_.directory() / "summary.json").string();
  const auto take = [&] { return nlohmann::json::parse(read_file(file), nullptr, false).value("take", -1); };
  ASSERT_EQ(run({"--session", "s", "--summary", file}, ask).out, "n1");
  EXPECT_EQ(take(), 1);
  EXPECT_EQ(run({"--session", "s"}, {"/no/such/command"}).status, 127);
  EXPECT_EQ(run({"--session", "s", "--summary", file}, {"true"}).status, 0);
  EXPECT_EQ(take(), 0);
  ASSERT_EQ(run({"--session", "s", "--append", "--summary", file}, ask).out, "n2");
  EXPECT_EQ(take(), 1);
  EXPECT_EQ(run({"--session", "s", "--mode", "replay"}, {"curl", "-sS", ask[2], ask[2]}).out, "n1n2");
  EXPECT_EQ(run({"--session", "ghost"}, {"true"}).status, 0);
  const Output ghost = run({"--session", "ghost", "--mode", "replay"}, ask);
  EXPECT_EQ(ghost.status, 125);
  EXPECT_THAT(ghost.err, HasSubstr("no session 'ghost'"));
  EXPECT_THAT(ghost.err, HasSubstr("there is 's'"));
  EXPECT_THAT(ghost.err, HasSubstr("--session NAME"));
}

// So that replay knows that it cannot answer there.
TEST_F(Run, OneThatHeardAnOriginSpeakFirstLeavesATakeWithoutRecordings) {
  ScriptedOrigin origin(lab_.origin(), 25, std::nullopt, [](Peer& peer) { peer.stream().send("220 ready\n"); });
  const std::string file = (lab_.directory() / "summary.json").string();
  const std::string hear = std::string("exec 3<>/dev/tcp/") + kOriginV4 + "/25; read -u 3 line; echo $line";
  ASSERT_EQ(run({"--session", "s", "--summary", file}, {"bash", "-c", hear}).out, "220 ready\n");
  const auto summary = nlohmann::json::parse(read_file(file), nullptr, false);
  EXPECT_EQ(summary.value("recorded", -1), 0);
  EXPECT_EQ(summary.value("take", -1), 1);
  const auto shown = run_to_end({tapdeck_binary(), "session", "show", "s", "--json", "--state-dir", state()});
  EXPECT_EQ(nlohmann::json::parse(shown.out, nullptr, false).value("takes", -1), 1) << shown.out << shown.err;
}

TEST_F(Run, WhatTheCommandGaveUpIsRecordedAndNotWaitedFor) {
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) continue;
  });
  const std::vector<std::string> ask = {"curl", "-sS", "-m", "0.3", std::string("http://") + kOriginV4 + "/mute"};
  const auto began = std::chrono::steady_clock::now();
  const Output recorded = run({}, ask);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(4)) << "it would wait for five seconds";
  EXPECT_EQ(recorded.status, 28) << "timeout";
  EXPECT_THAT(recorded.err, HasSubstr("1 recorded"));
  origin.stop();
  const Output replayed = run({"--mode", "replay"}, ask);
  EXPECT_EQ(replayed.status, 28);
  EXPECT_THAT(replayed.err, HasSubstr("1 replayed, 0 missed"));
}

TEST_F(Run, WhatWasRecordedIntoARemovedStateDirectoryIsLost) {
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("x"));
  });
  const std::string curl = std::string("curl -sS http://") + kOriginV4 + "/x";
  const Output output = run({"--fail-on-miss"}, {"sh", "-c", curl + "; rm -rf " + state() + "; " + curl});
  EXPECT_EQ(output.status, 3) << output.err;
  EXPECT_EQ(output.out, "xx");
  EXPECT_THAT(output.err, HasSubstr("0 recorded"));
  EXPECT_THAT(output.err, HasSubstr("2 LOST"));
  EXPECT_THAT(output.err, HasSubstr("the state directory was removed or renamed while it ran"));
}

TEST_F(Run, AppendExtendsTheLastTakeAndWithoutItTheNewestTakeReplaces) {
  std::atomic<int> count = 0;
  auto origin = std::make_unique<ScriptedOrigin>(lab_.origin(), 80, std::nullopt, [&](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("n" + std::to_string(++count)));
  });
  const std::string url = std::string("http://") + kOriginV4 + "/n";
  const std::vector<std::string> once = {"curl", "-sS", url};
  const std::vector<std::string> thrice = {"curl", "-sS", url, url, url};
  ASSERT_EQ(run({}, once).out, "n1");
  ASSERT_EQ(run({"--append"}, once).out, "n2");
  EXPECT_EQ(run({"--mode", "replay"}, thrice).out, "n1n2n2");
  ASSERT_EQ(run({}, once).out, "n3");
  origin->stop();
  const auto replayed = run({"--mode", "replay", "--append"}, thrice);
  EXPECT_EQ(replayed.out, "n3n3n3");
  EXPECT_THAT(replayed.err, HasSubstr("--append has no effect"));
}

// Ctrl-C says nothing of what the client wanted; that it gives up by itself does.
TEST_F(Run, WhatItLeftBecauseItWasToldToEndHasNoTurn) {
  std::atomic<int> count = 0;
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [&](Peer& peer) {
    while (!peer.read_request().empty()) {
      const int number = ++count;
      if (number % 2 != 0) peer.stream().send(ok_response("n" + std::to_string(number)));
    }
  });
  const std::string url = std::string("http://") + kOriginV4 + "/n";
  Process process(seated({.lab = lab_}, {tapdeck_binary(), "run", "--state-dir", state(), "--", "sh", "-c",
                                         "curl -sS " + url + "; exec curl -sS " + url}));
  ASSERT_TRUE(eventually(10s, [&] { return count == 2; })) << process.err();
  process.signal(SIGINT);
  ASSERT_TRUE(process.wait(10s)) << process.err();
  ASSERT_EQ(run({"--append"}, {"curl", "-sS", url}).out, "n3");
  ASSERT_EQ(run({"--append"}, {"curl", "-sS", "-m", "0.3", url}).status, 28) << "timeout";
  ASSERT_EQ(run({"--append"}, {"curl", "-sS", url}).out, "n5");
  origin.stop();
  const Output replayed = run({"--mode", "replay"}, {"curl", "-sS", "-m", "0.3", url, url, url, url});
  EXPECT_EQ(replayed.out, "n1n3n5") << "the third is given up again";
  EXPECT_THAT(replayed.err, HasSubstr("4 replayed, 0 missed"));
}

TEST_F(Run, EveryRealClientTrustsUsWithoutBeingTold) {
  NginxOrigin origin(lab_, {{"a.txt", "the body"}});
  for (const auto& client : std::vector<std::vector<std::string>>{
           {"curl", "-sS", "https://origin.test/a.txt"},
           {"wget", "-qO-", "https://origin.test/a.txt"},
           {"/usr/bin/python3", "-c", "import requests; print(requests.get('https://origin.test/a.txt').text)"},
           {"node", "-e", "require('https').get('https://origin.test/a.txt', r => r.pipe(process.stdout))"}}) {
    const auto output = run({}, client);
    EXPECT_EQ(output.status, 0) << client[0] << output.err;
    EXPECT_THAT(output.out, HasSubstr("the body")) << client[0];
  }
}

TEST_F(Run, SeveralAtOnceOnOneStateDirectoryAllRecord) {
  NginxOrigin origin(lab_, {{"a.txt", "a"}, {"b.txt", "b"}, {"c.txt", "c"}, {"d.txt", "d"}});
  std::vector<std::unique_ptr<Process>> runs;
  for (const std::string name : {"a", "b", "c", "d"}) {
    runs.push_back(std::make_unique<Process>(seated(
        {.lab = lab_}, {tapdeck_binary(), "run", "--state-dir", state(), "--upstream-ca", lab_.ca().certificate(),
                        "--session", "make-j", "--", "curl", "-sS", "https://origin.test/" + name + ".txt"})));
  }
  for (auto& one : runs) EXPECT_EQ(one->wait(30s), 0) << one->err();
  const auto list = run_to_end(
      {.argv = {tapdeck_binary(), "recording", "list", "--json", "--session", "make-j", "--state-dir", state()}});
  EXPECT_EQ(nlohmann::json::parse(list.out, nullptr, false)["items"].size(), 4U) << list.out << list.err;
}

TEST_F(Run, WhatWasRecordedBesideAnotherRunIsReplayedWhileThatOneLives) {
  NginxOrigin origin(lab_, {{"a.txt", "a"}});
  const auto flag = (lab_.directory() / "owner-is-up").string();
  Process owner(seated({.lab = lab_}, {tapdeck_binary(), "run", "--state-dir", state(), "--", "sh", "-c",
                                       "touch " + flag + "; exec sleep 60"}));
  ASSERT_TRUE(eventually(10s, [&] { return std::filesystem::exists(flag); })) << owner.err();
  const std::vector<std::string> command = {"curl", "-sS", "https://origin.test/a.txt"};
  EXPECT_EQ(run({"--session", "beside"}, command).out, "a");
  origin.stop();
  const auto replayed = run({"--session", "beside", "--mode", "replay"}, command);
  EXPECT_EQ(replayed.out, "a") << replayed.err;
  const auto hybrid = run({"--session", "beside", "--mode", "hybrid"}, command);
  EXPECT_EQ(hybrid.out, "a") << hybrid.err;
  EXPECT_THAT(hybrid.err, HasSubstr("0 recorded, 1 replayed"));
  EXPECT_TRUE(owner.running());
}

TEST_F(Run, UsesTheDescriptorsTheHostAllowsAndLeavesTheCommandItsOwnLimit) {
  const std::string script = "ulimit -Sn; awk '/open files/ { print $4, $5 }' /proc/$PPID/limits";
  const auto output = run_in({.lab = lab_}, {"prlimit", "--nofile=400:4000", tapdeck_binary(), "run", "--state-dir",
                                             state(), "--", "sh", "-c", script});
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_EQ(output.out, "400\n4000 4000\n");
}

TEST_F(Run, ByCgroupWithoutPrivilegesItSaysWhichAreMissing) {
  const TempDir place;
  auto options = seated({.lab = lab_}, {tapdeck_for_anyone(place), "run", "--capture", "cgroup", "--state-dir",
                                        "/tmp/td-lab-nobody", "--", "true"});
  options.user = 65534;
  const auto output = run_to_end(options);
  std::filesystem::remove_all("/tmp/td-lab-nobody");
  EXPECT_EQ(output.status, 125);
  EXPECT_THAT(output.err, HasSubstr("CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN"));
  EXPECT_THAT(output.err, HasSubstr("tapdeck doctor"));
  EXPECT_THAT(output.err, HasSubstr("--capture netns"));
  EXPECT_EQ(output.err.find('\n'), output.err.size() - 1) << "one line: " << output.err;
}

}  // namespace
}  // namespace tapdeck::lab
