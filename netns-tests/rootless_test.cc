// `tapdeck run` by an ordinary user: a network namespace of its own in place of kernel programs (--capture netns).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "daemon/base/processes.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nginx_origin.h"
#include "netns-tests/rootless.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string answered(const Output& output) {
  return output.out + output.err;
}

TEST_F(Rootless, RecordsThenReplaysIdenticalOutputWithTheOriginGone) {
  NginxOrigin origin(lab_, {{"hello.json", "{\"hello\": 1}\n"}});
  const std::vector<std::string> command = {"curl",
                                            "-sS",
                                            "-i",
                                            "https://v4.origin.test/hello.json",
                                            "https://v6.origin.test/hello.json",
                                            "http://v4.origin.test/hello.json"};
  const auto recorded = run({"--session", "s"}, command);
  ASSERT_EQ(recorded.status, 0) << recorded.err;
  EXPECT_THAT(recorded.err, HasSubstr("run: captured in a network namespace of its own (--capture netns)"));
  EXPECT_THAT(recorded.err,
              HasSubstr("tapdeck: session s: 3 recorded, 0 replayed, 0 missed, 0 tunnelled, 0 not captured"));
  EXPECT_THAT(recorded.err, Not(HasSubstr("trust store left as it is")));
  origin.stop();
  const auto replayed = run({"--session", "s", "--mode", "replay", "--sealed", "--fail-on-miss"}, command);
  EXPECT_EQ(replayed.status, 0) << replayed.err;
  EXPECT_EQ(replayed.out, recorded.out);
  EXPECT_THAT(replayed.err, HasSubstr("0 recorded, 3 replayed, 0 missed"));
}

TEST_F(Rootless, RuntimesWithTrustStoresOfTheirOwnTrustIt) {
  NginxOrigin origin(lab_, {{"a.txt", "a"}});
  const std::string url = "https://origin.test/a.txt";
  const auto python = run({}, {"python3", "-c", "import requests; print(requests.get('" + url + "').text)"});
  EXPECT_EQ(python.out, "a\n") << python.err;
  const auto node = run({}, {"node", "-e", "require('https').get('" + url + "', r => r.pipe(process.stdout))"});
  EXPECT_EQ(node.out, "a") << node.err;
  // Without any of our variables: what the file system says.
  const auto bare = run({}, {"env", "-i", "/usr/bin/curl", "-sS", url});
  EXPECT_EQ(bare.out, "a") << bare.err;
}

TEST_F(Rootless, TheCommandIsTheUserItWasAndHasNoPrivileges) {
  const auto who = run({}, {"sh", "-c", "id -u; id -g; grep CapEff /proc/self/status; touch $HOME/mine"});
  EXPECT_EQ(who.out, "54321\n54321\nCapEff:\t0000000000000000\n") << who.err;
  struct stat made{};
  ASSERT_EQ(::stat((home() + "/mine").c_str(), &made), 0);
  EXPECT_EQ(made.st_uid, kOrdinary);
}

TEST_F(Rootless, ServersOutsideOnLoopbackAreCapturedAndThoseOfTheCommandAreItsOwn) {
  // 400 connections to a server of its own: one over a tuple in TIME_WAIT must not come to us.
  constexpr const char* kScript = R"(
import http.server, threading, urllib.request
class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'own')
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('0.0.0.0', 0), Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
got = [urllib.request.urlopen('http://127.0.0.1:%d/' % port).read() for _ in range(400)]
print(set(got), urllib.request.urlopen('http://127.0.0.1:8099/').read())
)";
  ScriptedOrigin outside(lab_.client(), 8099, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("outside"));
  });
  const auto output = run({}, {"python3", "-c", kScript});
  EXPECT_EQ(output.out, "{b'own'} b'outside'\n") << output.err;
  EXPECT_THAT(output.err, HasSubstr("1 recorded"));
}

TEST_F(Rootless, WhereNobodyListensOnThisHostConnectionsAreRefused) {
  // A server of the command's own on one of the addresses that a name has, on the host's address, and on none.
  constexpr const char* kScript = R"(
import socket
def ask(address, family=socket.AF_INET):
    s = socket.socket(family)
    s.settimeout(10)
    try:
        s.connect(address)
        return s.recv(10)
    except OSError as e: return e.errno
def serve(address):
    s = socket.create_server(address)
    import threading
    def run():
        while True:
            c, _ = s.accept(); c.sendall(b'own'); c.close()
    threading.Thread(target=run, daemon=True).start()
serve(('127.0.0.1', 9400))
serve(('10.77.1.2', 9401))
print(ask(('::1', 9400), socket.AF_INET6), ask(('127.0.0.1', 9400)), ask(('10.77.1.2', 9401)),
      ask(('127.0.0.1', 9402)), ask(('10.77.1.2', 9402)), ask(('192.0.0.8', 9402)))
)";
  const auto output = run({}, {"python3", "-c", kScript});
  EXPECT_EQ(output.out, "111 b'own' b'own' 111 111 111\n") << output.err;
  EXPECT_THAT(output.err, HasSubstr("0 recorded, 0 replayed, 0 missed, 0 tunnelled, 0 not captured"));
}

TEST_F(Rootless, WhatWasServedOnThisHostIsReplayedThoughNobodyListensThereNow) {
  const std::vector<std::string> command = {"curl", "-sS", "http://127.0.0.1:8099/", "http://10.77.1.2:8099/"};
  {
    ScriptedOrigin outside(lab_.client(), 8099, std::nullopt, [](Peer& peer) {
      while (!peer.read_request().empty()) peer.stream().send(ok_response("outside"));
    });
    const auto recorded = run({}, command);
    EXPECT_EQ(recorded.out, "outsideoutside") << recorded.err;
  }
  const auto replayed = run({"--mode", "replay", "--fail-on-miss"}, command);
  EXPECT_EQ(replayed.out, "outsideoutside") << replayed.err;
  EXPECT_EQ(replayed.status, 0);
}

TEST_F(Rootless, HybridAnswersFromTapeWhatTheHostCannotReachNow) {
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("x"));
  });
  const std::vector<std::string> command = {"curl", "-sS", std::string("http://") + kOriginV4 + "/"};
  ASSERT_EQ(run({}, command).out, "x");
  lab_.client().ip("route del default");
  const auto hybrid = run({"--mode", "hybrid"}, command);
  EXPECT_EQ(hybrid.out, "x") << hybrid.err;
  EXPECT_THAT(hybrid.err, HasSubstr("0 recorded, 1 replayed"));
}

TEST_F(Rootless, WhatTheHostCannotReachIsUnreachableAndInReplayEverythingIsAsked) {
  lab_.client().ip("route replace 10.77.2.0/24 via 10.77.1.1");
  lab_.client().ip("route del default");
  const std::vector<std::string> command = {"curl", "-sS", "--max-time", "10", "http://203.0.113.9/"};
  const auto unreachable = run({}, command);
  EXPECT_EQ(unreachable.status, 7) << answered(unreachable);
  EXPECT_THAT(unreachable.err, HasSubstr("0 recorded"));
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("x"));
  });
  ASSERT_EQ(run({}, {"curl", "-sS", std::string("http://") + kOriginV4 + "/"}).status, 0);
  const auto missed = run({"--mode", "replay"}, command);
  EXPECT_THAT(missed.out, HasSubstr("not_recorded")) << missed.err;
  EXPECT_THAT(missed.err, HasSubstr("1 missed"));
}

TEST_F(Rootless, DatagramsAreRefusedAtOnceAndCounted) {
  constexpr const char* kScript = R"(
import socket, time
begun = time.monotonic()
for port in (443, 123):
    for family, address in ((socket.AF_INET, '10.77.2.2'), (socket.AF_INET6, 'fd77:2::2')):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.settimeout(10)
        s.connect((address, port))
        s.send(b'x')
        try: s.recv(1)
        except OSError as e: print(e.errno, end=' ')
print(time.monotonic() - begun < 5)
)";
  const auto output = run({"--summary", home() + "/summary"}, {"python3", "-c", kScript});
  EXPECT_EQ(output.out, "111 111 111 111 True\n") << output.err;
  EXPECT_THAT(output.err, HasSubstr("4 not captured"));
  const auto summary = nlohmann::json::parse(read_file(home() + "/summary"), nullptr, false);
  EXPECT_EQ(summary["capture"], "netns");
  EXPECT_EQ(summary["uncaptured"]["quic"], 2) << summary.dump();
  EXPECT_EQ(summary["uncaptured"]["udp"], 2);
}

TEST_F(Rootless, ServerFirstProtocolsAreTunnelledAndHalvesCloseAlone) {
  ScriptedOrigin origin(lab_.origin(), 2525, std::nullopt, [](Peer& peer) {
    peer.stream().send("220 hello\r\n");
    std::string heard;
    for (std::string more = peer.stream().read_some(); !more.empty(); more = peer.stream().read_some()) heard += more;
    peer.stream().send("heard " + heard);
  });
  constexpr const char* kScript = R"(
import socket
s = socket.create_connection(('10.77.2.2', 2525))
print(s.recv(100))
s.sendall(b'all of it')
s.shutdown(socket.SHUT_WR)
print(s.recv(100))
)";
  const auto output = run({}, {"python3", "-c", kScript});
  EXPECT_EQ(output.out, "b'220 hello\\r\\n'\nb'heard all of it'\n") << output.err;
  EXPECT_THAT(output.err, HasSubstr("1 tunnelled"));
}

TEST_F(Rootless, KilledTakesTheCommandAndItsDescendantsAlong) {
  Process process(ordinary(argv({}, {"sh", "-c", "setsid sleep 1000 & echo $$ $!; wait"})));
  ASSERT_TRUE(eventually(15s, [&] { return process.out().ends_with("\n"); })) << process.err();
  std::istringstream in(process.out());
  const std::vector<pid_t> family{std::istream_iterator<pid_t>(in), {}};
  ASSERT_EQ(family.size(), 2U);
  const pid_t keeper = guard_of(process);
  EXPECT_GT(keeper, 0);
  process.signal(SIGKILL);
  ASSERT_EQ(process.wait(10s), 128 + SIGKILL);
  for (const pid_t one : {family[0], family[1], keeper}) {
    EXPECT_TRUE(eventually(15s, [&] { return !is_alive(one); })) << one;
  }
}

TEST_F(Rootless, WhatOutlivesTheCommandIsEnded) {
  const auto output = run({}, {"sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"});
  EXPECT_EQ(output.status, 0);
  EXPECT_THAT(output.err, HasSubstr("1 process outlived the command and had to be ended"));
  EXPECT_FALSE(is_alive(std::stoi(output.out)));
}

TEST_F(Rootless, SandboxesThatOutliveTheCommandAreEnded) {
  const auto output = run({}, {"sh", "-c", "setsid unshare --user --net sleep 1000 >/dev/null 2>&1 & echo $!"});
  EXPECT_THAT(output.err, HasSubstr("outlived the command and had to be ended"));
  EXPECT_FALSE(is_alive(std::stoi(output.out)));
}

TEST_F(Rootless, SealedARunThatWasNotWatchedIsNotComplete) {
  Process process(ordinary(argv({"--sealed", "--fail-on-miss"}, {"sh", "-c", "echo $$; read x; :"})));
  ASSERT_TRUE(eventually(15s, [&] { return process.out().ends_with("\n"); })) << process.err();
  const pid_t keeper = guard_of(process);
  ASSERT_GT(keeper, 0);
  ::kill(keeper, SIGKILL);
  ASSERT_TRUE(eventually(15s, [&] { return !is_alive(keeper); }));
  ::kill(std::stoi(process.out()), SIGTERM);
  EXPECT_EQ(process.wait(30s), 3) << process.err();
  EXPECT_THAT(process.err(), HasSubstr("somebody ended the guard of this run"));
}

TEST_F(Rootless, ExitStatusesAndSignalsAreTheCommands) {
  EXPECT_EQ(run({}, {"sh", "-c", "exit 42"}).status, 42);
  EXPECT_EQ(run({}, {"sh", "-c", "kill -TERM $$"}).status, 128 + SIGTERM);
  EXPECT_EQ(run({}, {"/no/such/program"}).status, 127);
}

TEST_F(Rootless, ManyConnectionsAtATimeAndInARow) {
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("x"));
  });
  const std::string url = std::string("http://") + kOriginV4 + "/n?[1-300]";
  const std::vector<std::string> command = {"curl", "-sS", "-Z", "--parallel-max", "50", "-H", "Connection: close",
                                            url};
  const auto recorded = run({}, command);
  EXPECT_EQ(recorded.out, std::string(300, 'x')) << recorded.err;
  const auto replayed = run({"--mode", "replay", "--fail-on-miss"}, command);
  EXPECT_EQ(replayed.out, std::string(300, 'x')) << replayed.err;
  EXPECT_EQ(replayed.status, 0);
}

TEST_F(Rootless, RunsBesideEachOther) {
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("x"));
  });
  std::vector<std::unique_ptr<Process>> all;
  for (int i = 0; i < 4; ++i) {
    const std::string url = std::string("http://") + kOriginV4 + "/" + std::to_string(i);
    all.push_back(std::make_unique<Process>(ordinary(argv({"--session", "s"}, {"curl", "-sS", url}))));
  }
  for (const auto& one : all) EXPECT_EQ(one->wait(60s), 0) << one->err();
  const std::string url = std::string("http://") + kOriginV4 + "/[0-3]";
  const auto replayed = run({"--session", "s", "--mode", "replay", "--fail-on-miss"}, {"curl", "-sS", url});
  EXPECT_EQ(replayed.status, 0) << answered(replayed);
  EXPECT_EQ(replayed.out, "xxxx");
}

// Root may ask for it, too, and its commands become whom they like.
TEST_F(Rootless, OfRootKeepsAllUsers) {
  const auto output = run_in({.lab = lab_}, argv({"--capture", "netns", "--state-dir", lab_.directory() / "root-state"},
                                                 {"setpriv", "--reuid", "1234", "--clear-groups", "id", "-u"}));
  EXPECT_EQ(output.out, "1234\n") << output.err;
}

TEST_F(Rootless, SaysWhatIsMissingWhereNeitherWayWorks) {
  const std::string user = std::to_string(kOrdinary);
  std::vector<std::string> words = {"unshare", "--user", "--map-root-user",
                                    "sh",      "-c",     "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"",
                                    "sh"};
  for (const std::string& word : argv({}, {"true"})) words.push_back(word);
  const auto output = run_to_end(ordinary(words));
  EXPECT_EQ(output.status, 125);
  EXPECT_THAT(output.err, HasSubstr("user.max_user_namespaces"));
  EXPECT_THAT(output.err, HasSubstr("CAP_BPF"));
}

}  // namespace
}  // namespace tapdeck::lab
