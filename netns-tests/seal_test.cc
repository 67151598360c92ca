// Names with addresses of both families, whose look-up tries each of them by a UDP connect, and the kinds of refusals
// of a sealed target.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nginx_origin.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

// The families in the order in which a client would try origin.test's addresses.
constexpr const char* kOrder =
    "import socket; print([a[0].name for a in socket.getaddrinfo('origin.test', 443, 0, 1)])";

class Seal : public ::testing::Test {
 protected:
  Output run(std::vector<std::string> flags, const std::vector<std::string>& command) {
    std::vector<std::string> argv = {tapdeck_binary(), "run",
                                     "--state-dir",    lab_.directory() / "run-state",
                                     "--upstream-ca",  lab_.ca().certificate()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    argv.push_back("--");
    argv.insert(argv.end(), command.begin(), command.end());
    return run_in({.lab = lab_}, argv);
  }
  void leave_only_v4() {
    lab_.client().ip("-6 addr flush dev eth0");
    lab_.client().ip("-6 route flush dev eth0");
  }
  // Recorded with `record`, the same comes from the tape, sealed, and nothing is held against it.
  void expect_round_trip(const std::vector<std::string>& record) {
    const std::vector<std::string> command = {"curl", "-sS", "-w", "%{http_code}", "https://origin.test/a.txt"};
    NginxOrigin origin(lab_, {{"a.txt", "a"}});
    const auto recorded = run(record, command);
    EXPECT_EQ(recorded.out, "a200") << recorded.err;
    EXPECT_THAT(recorded.err, HasSubstr("1 recorded, 0 replayed, 0 missed, 0 tunnelled, 0 not captured"));
    origin.stop();
    const auto replayed = run({"--mode", "replay", "--sealed", "--fail-on-miss"}, command);
    EXPECT_EQ(replayed.status, 0) << replayed.err;
    EXPECT_EQ(replayed.out, "a200");
    EXPECT_THAT(replayed.err, HasSubstr("0 recorded, 1 replayed, 0 missed, 0 tunnelled, 0 not captured"));
  }

  Topology lab_;
};

TEST_F(Seal, ANameOfBothFamiliesIsRecordedAndReplayed) {
  expect_round_trip({});
}

TEST_F(Seal, ANameOfBothFamiliesIsRecordedAndReplayedWhereThereIsNoRouteForOne) {
  leave_only_v4();
  expect_round_trip({});
}

TEST_F(Seal, ANameOfBothFamiliesIsRecordedSealedWhereThereIsNoRouteForOne) {
  leave_only_v4();
  expect_round_trip({"--sealed"});
}

TEST_F(Seal, AddressesAreSortedAsWithoutUs) {
  for (const auto* routes : {"both", "v4"}) {
    if (routes == std::string("v4")) leave_only_v4();
    const std::vector<std::string> command = {"/usr/bin/python3", "-c", kOrder};
    const auto native = run_in({.lab = lab_}, command);
    ASSERT_EQ(native.status, 0) << native.err;
    EXPECT_EQ(run({}, command).out, native.out) << routes;
    const auto sealed = run({"--sealed", "--fail-on-miss"}, command);
    EXPECT_EQ(sealed.out, native.out) << routes;
    EXPECT_EQ(sealed.status, 0) << sealed.err;
  }
}

// HTTP and what is not HTTP alike: sealing keeps in what would leave past us.
TEST_F(Seal, ARouteInPassthroughLeadsToItsOriginInReplay) {
  const std::vector<std::string> command = {"bash", "-c",
                                            std::string("exec 3<>/dev/tcp/") + kOriginV4 +
                                                "/25; read -u 3 line; echo $line; curl -sS http://" + kOriginV4 +
                                                ":8025/a"};
  ASSERT_THAT(run({}, {"curl", "-sS", std::string("http://") + kOriginV4}).err, HasSubstr("1 recorded"));
  ScriptedOrigin mail(lab_.origin(), 25, std::nullopt, [](Peer& peer) { peer.stream().send("220 ready\n"); });
  ScriptedOrigin web(lab_.origin(), 8025, std::nullopt, answers({{"/a", ok_response("live")}}));
  const std::string config = lab_.directory() / "routes.toml";
  write_file(config,
             "[[routes]]\nport = 25\nmode = \"passthrough\"\n[[routes]]\nport = 8025\nmode = \"passthrough\"\n");
  const auto replayed = run({"--mode", "replay", "--sealed", "--fail-on-miss", "--config", config}, command);
  EXPECT_EQ(replayed.out, "220 ready\nlive") << replayed.err;
  EXPECT_EQ(replayed.status, 0);
  EXPECT_THAT(replayed.err, HasSubstr("0 missed, 1 tunnelled, 0 not captured"));
}

TEST_F(Seal, WhatIsReallySentStillFailsTheRun) {
  const auto sent =
      run({"--sealed", "--fail-on-miss"}, {"/usr/bin/python3", "-c",
                                           "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
                                           "s.connect(('10.77.2.2', 443)); s.send(b'x')"});
  EXPECT_EQ(sent.status, 3);
  EXPECT_THAT(sent.err, HasSubstr("1 not captured"));
}

TEST_F(Seal, WhatWasRefusedWhileTheRunStoodStillFailsIt) {
  const auto flag = (lab_.directory() / "stopped").string();
  const std::string script = "echo ready; until [ -e " + flag +
                             " ]; do sleep 0.01; done; until curl -s --max-time 1 http://" + std::string(kOriginV4) +
                             "/ || [ $? = 7 ]; do :; done; echo refused";
  Process process(seated({.lab = lab_}, {tapdeck_binary(), "run", "--state-dir", lab_.directory() / "run-state",
                                         "--sealed", "--fail-on-miss", "--", "sh", "-c", script}));
  ASSERT_TRUE(eventually(15s, [&] { return process.out() == "ready\n"; })) << process.err();
  process.signal(SIGSTOP);
  write_file(flag, "");
  ASSERT_TRUE(eventually(20s, [&] { return process.out().ends_with("refused\n"); }));
  process.signal(SIGCONT);
  EXPECT_EQ(process.wait(20s), 3) << process.err();
  EXPECT_THAT(process.err(), HasSubstr("tapdeck: refused: 1 connection: this run stood still"));
}

TEST(SealedTarget, RefusalsAreCountedByKind) {
  Captured captured(CaptureBy::Cgroup, {}, {"--sealed"});
  const auto output = run_in(captured.seat(), {"/usr/bin/python3", "-c", R"(
import socket
def refused(call):
  try: call()
  except OSError as e: print(e.errno)
datagrams = lambda protocol=0: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, protocol)
refused(lambda: datagrams().sendto(b'x', ('10.77.2.2', 9999)))
bound = datagrams()
bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
refused(lambda: bound.sendto(b'x', ('10.77.2.2', 53)))
bound = datagrams()
bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo')
refused(lambda: bound.connect(('127.0.0.53', 53)))
refused(lambda: socket.create_connection(('127.0.0.53', 53)))
refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
)"});
  EXPECT_EQ(output.out, "111\n111\n111\n111\n111\n") << output.err;
  const auto refusals = [&](const std::string& kind) {
    return captured.daemon().metric("tapdeck_sealed_refusals_total", {"kind=\"" + kind + "\""});
  };
  EXPECT_EQ(refusals("udp"), 1);
  EXPECT_EQ(refusals("dns"), 3);
  EXPECT_EQ(refusals("other"), 1);
  EXPECT_EQ(refusals("tcp"), 0);
  EXPECT_EQ(captured.daemon().metric("tapdeck_sealed_refusals_total", {"target=\"other\""}), 0);
  EXPECT_EQ(captured.daemon().metric("tapdeck_target_info", {"path=\"cgroup\"", "sealed=\"yes\""}), 1);
}

}  // namespace
}  // namespace tapdeck::lab
