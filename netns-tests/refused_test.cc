// Connects that the origin refused, with proxy.replay_refused = "refuse": in replay the client has what it would have
// had without a proxy, and whatever else is on tape answers as ever.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Each argument is HOW,ADDRESS,PORT,PATH: 4, 6 or m (an IPv4 address mapped into IPv6), then b (blocking) or n. Prints
// one line each: the errno of connect(), "after connect" and an errno, or the status of the answer.
constexpr const char* kConnectAndAsk = R"(
import errno, socket, sys
for how, host, port, path in (argument.split(',') for argument in sys.argv[1:]):
    client = socket.socket(socket.AF_INET if how[0] == '4' else socket.AF_INET6)
    client.setblocking(how[1] == 'b')
    error = client.connect_ex((('::ffff:' if how[0] == 'm' else '') + host, int(port)))
    if error not in (0, errno.EINPROGRESS):
        print(errno.errorcode[error])
        continue
    client.setblocking(True)
    try:
        client.sendall(f'GET {path} HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n'.encode())
        print(client.recv(12).decode()[9:] or 'EOF')
    except OSError as failure:
        print('after connect', errno.errorcode[failure.errno])
)";

std::string v4(const std::string& how, const std::string& port_and_path) {
  return how + "," + kOriginV4 + "," + port_and_path;
}
std::string v6(const std::string& how, const std::string& port_and_path) {
  return how + "," + kOriginV6 + "," + port_and_path;
}
std::vector<std::string> asks(std::vector<std::string> what) {
  std::vector<std::string> argv = {"/usr/bin/python3", "-c", kConnectAndAsk};
  argv.insert(argv.end(), what.begin(), what.end());
  return argv;
}

std::unique_ptr<ScriptedOrigin> origin_at(const Topology& lab, uint16_t port) {
  return std::make_unique<ScriptedOrigin>(lab.origin(), port, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("here"));
  });
}

class RefusedRun : public ::testing::Test {
 protected:
  Output run(std::vector<std::string> flags, const std::vector<std::string>& what) {
    std::vector<std::string> argv = {tapdeck_binary(), "run", "--state-dir", lab_.directory() / "run-state"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    argv.push_back("--");
    for (const std::string& word : asks(what)) argv.push_back(word);
    return run_in({.lab = lab_}, argv);
  }
  Topology lab_;
};

TEST_F(RefusedRun, ConnectSaysSoInReplayOnlyWhenToldTo) {
  const auto origin = origin_at(lab_, 80);
  const std::vector<std::string> what = {v4("4b", "81,/gone"), v6("6b", "81,/gone"), v4("4b", "80,/here")};
  const auto recorded = run({}, what);
  ASSERT_EQ(recorded.out, "502\n502\n200\n") << recorded.err;
  origin->stop();
  const auto answered = run({"--mode", "replay", "--fail-on-miss"}, what);
  EXPECT_EQ(answered.out, recorded.out) << answered.err;
  EXPECT_EQ(answered.status, 0);
  EXPECT_THAT(answered.err, Not(HasSubstr("refused")));

  const std::string file = lab_.directory() / "summary.json";
  const auto refused =
      run({"--mode", "replay", "--sealed", "--replay-refused", "refuse", "--fail-on-miss", "--summary", file},
          {v4("4b", "81,/gone"), v6("6b", "81,/gone"), v4("mb", "81,/gone"), v4("4n", "81,/gone"), v6("6n", "81,/gone"),
           v4("mn", "81,/gone"), v4("4b", "80,/here"), v4("mn", "80,/here")});
  EXPECT_EQ(refused.out,
            "ECONNREFUSED\nECONNREFUSED\nECONNREFUSED\nECONNREFUSED\nECONNREFUSED\nECONNREFUSED\n200\n200\n");
  EXPECT_EQ(refused.status, 0) << refused.err;
  EXPECT_THAT(refused.err,
              HasSubstr("2 replayed, 0 missed, 0 tunnelled, 0 not captured\ntapdeck: also: 6 refused as recorded\n"));
  const auto summary = nlohmann::json::parse(read_file(file), nullptr, false);
  ASSERT_TRUE(summary.is_object());
  EXPECT_EQ(summary.value("refused_as_recorded", -1), 6);
  EXPECT_TRUE(summary["refused"].empty()) << summary["refused"];
  EXPECT_EQ(summary.value("exit", -1), 0);
}

TEST_F(RefusedRun, AnAddressThatAnsweredLaterIsResetOnceAndAnswersThen) {
  ASSERT_EQ(run({}, {v4("4b", "82,/late")}).out, "502\n");
  const auto origin = origin_at(lab_, 82);
  ASSERT_EQ(run({"--append"}, {v4("4b", "82,/late")}).out, "200\n");
  origin->stop();
  const auto replayed =
      run({"--mode", "replay", "--replay-refused", "refuse"}, {v4("4b", "82,/late"), v4("4b", "82,/late")});
  EXPECT_EQ(replayed.out, "after connect ECONNRESET\n200\n") << replayed.err;
  EXPECT_THAT(replayed.err,
              HasSubstr("2 replayed, 0 missed, 0 tunnelled, 0 not captured\ntapdeck: also: 1 refused as recorded\n"));
  // A newer take in which it only answers is all that counts.
  const auto again = origin_at(lab_, 82);
  ASSERT_EQ(run({}, {v4("4b", "82,/late")}).out, "200\n");
  EXPECT_EQ(run({"--mode", "replay", "--replay-refused", "refuse"}, {v4("4b", "82,/late")}).out, "200\n");
}

DaemonOptions refusing() {
  DaemonOptions options;
  options.sections["proxy"] = "replay_refused = \"refuse\"\n";
  return options;
}

TEST(Refused, TheInterfacePathResets) {
  Captured captured(CaptureBy::Interface, refusing());
  ASSERT_EQ(run_in(captured.seat(), asks({v4("4b", "81,/gone"), v6("6b", "81,/gone")})).out, "502\n502\n");
  captured.replay();
  EXPECT_EQ(run_in(captured.seat(), asks({v4("4b", "81,/gone"), v6("6n", "81,/gone")})).out,
            "after connect ECONNRESET\nafter connect ECONNRESET\n");
  EXPECT_EQ(captured.daemon().metric("tapdeck_replayed_refusals_total", {"by=\"reset\""}), 2.0);
  EXPECT_EQ(captured.daemon().metric("tapdeck_replayed_refusals_total", {"by=\"connect\""}), 0.0);
}

TEST(Refused, GoesWithTheSessionTheModeAndTheTargetAndComesBackWithThem) {
  Captured captured(CaptureBy::Cgroup, refusing());
  const DaemonProcess& daemon = captured.daemon();
  const auto ask = [&] { return run_in(captured.seat(), asks({v4("4b", "81,/gone")})).out; };
  daemon.must_cli({"session", "create", "other"});
  ASSERT_EQ(ask(), "502\n");
  captured.replay();
  EXPECT_EQ(ask(), "ECONNREFUSED\n");
  EXPECT_EQ(daemon.metric("tapdeck_replayed_refusals_total", {"by=\"connect\""}), 1.0);
  daemon.must_cli({"session", "activate", "other", "--target", captured.target()});
  EXPECT_EQ(ask(), "502\n") << "a miss: nothing of it is in this session";
  EXPECT_EQ(daemon.metric("tapdeck_misses_total"), 1.0);
  daemon.must_cli({"session", "activate", "default", "--target", captured.target()});
  EXPECT_EQ(ask(), "ECONNREFUSED\n");
  daemon.must_cli({"session", "rewind", "default"});
  EXPECT_EQ(ask(), "ECONNREFUSED\n");
  daemon.must_cli({"mode", "set", "hybrid", "--target", captured.target()});
  EXPECT_EQ(ask(), "502\n") << "the origin is asked again";
  captured.replay();
  EXPECT_EQ(ask(), "ECONNREFUSED\n");
  daemon.must_cli({"detach", captured.target()});
  EXPECT_EQ(ask(), "ECONNREFUSED\n") << "by the origin's host itself";
  EXPECT_EQ(daemon.metric("tapdeck_replayed_refusals_total", {"by=\"connect\""}), 4.0);
}

TEST(Refused, IsFoundAgainAfterARestart) {
  Captured captured(CaptureBy::Cgroup, refusing());
  const auto ask = [&] { return run_in(captured.seat(), asks({v4("4b", "81,/gone")})).out; };
  ASSERT_EQ(ask(), "502\n");
  captured.replay();
  ASSERT_EQ(captured.daemon().stop(), 0);
  captured.daemon().start();
  EXPECT_EQ(ask(), "ECONNREFUSED\n");
  EXPECT_EQ(captured.daemon().metric("tapdeck_replayed_refusals_total", {"by=\"connect\""}), 1.0);
}

}  // namespace
}  // namespace tapdeck::lab
