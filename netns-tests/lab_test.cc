// The lab itself: what the other tests lean on must be able to fail on its own, without the daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include "netns-tests/clients.h"
#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"
#include "netns-tests/nginx_origin.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Lab, GatewayHasNoWayOut) {
  Topology lab;
  EXPECT_THAT(lab.gw().ip_output("route show default"), "");
  EXPECT_THAT(lab.gw().ip_output("-6 route show default"), "");
  const auto ping = run_to_end({.argv = {"curl", "-sS", "-m", "2", "http://192.0.2.1/"}, .netns = &lab.gw()});
  EXPECT_NE(ping.status, 0);
}

TEST(Lab, ClientReachesTheOriginByBothFamiliesAndByName) {
  Topology lab;
  NginxOrigin origin(lab, {{"hello.txt", "hello\n"}});
  const Seat seat{.lab = lab, .ca = lab.ca().certificate()};
  for (const auto* host : {"v4.origin.test", "v6.origin.test"}) {
    EXPECT_THAT(fetch("curl", seat, host, "/hello.txt"), HasSubstr("\r\n\r\nhello\n")) << host;
  }
}

TEST(Lab, EveryRealClientPrintsTheBodyAndTheOddHeader) {
  Topology lab;
  ScriptedOrigin origin(
      lab.origin(), 443, lab.leaf(),
      answers({{"/x", "HTTP/1.1 200 Fine\r\nX-oDD: 1\r\nX-oDD: 2\r\nContent-Length: 4\r\n\r\nbody"}}));
  const Seat seat{.lab = lab, .ca = lab.ca().certificate()};
  for (const auto& kind : client_kinds()) {
    const auto shown = fetch(kind, seat, "origin.test", "/x");
    EXPECT_THAT(shown, HasSubstr("body")) << kind;
    EXPECT_THAT(shown, HasSubstr(kind == "go" ? "X-Odd" : "X-oDD")) << kind;
  }
  EXPECT_EQ(origin.requests(), client_kinds().size());
}

TEST(Lab, ClientsRefuseExpiredWrongNamedAndSelfSignedLeaves) {
  Topology lab;
  const std::vector<std::pair<const char*, LeafOptions>> bad = {
      {"expired", {.dns = {"origin.test"}, .valid_from = std::chrono::hours(-48), .valid_to = std::chrono::hours(-24)}},
      {"wrong name", {.dns = {"elsewhere.test"}}},
      {"self-signed", {.dns = {"origin.test"}, .self_signed = true}}};
  for (const auto& [what, options] : bad) {
    ScriptedOrigin origin(lab.origin(), 443, lab.ca().issue(options), answers({}));
    const auto output = run_in({.lab = lab, .ca = lab.ca().certificate()}, {"curl", "-sS", "https://origin.test/"});
    EXPECT_EQ(output.status, 60) << what << ": " << output.err;
  }
}

TEST(Lab, RawClientSeesEveryByteChunkExtensionAndTrailer) {
  Topology lab;
  const std::string answer =
      "HTTP/1.1 200 OK\r\ntransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-T: "
      "end\r\n\r\n";
  ScriptedOrigin origin(lab.origin(), 443, lab.leaf(), [&](Peer& peer) {
    if (!peer.read_request().empty()) peer.stream().send(answer);
  });
  const auto output = raw_https({.lab = lab, .ca = lab.ca().certificate()}, kOriginV6, "origin.test",
                                "GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n");
  EXPECT_EQ(output.out, answer) << output.err;
  EXPECT_THAT(output.err, HasSubstr("peer [fd77:2::2]:443"));
  const auto parsed = parse_raw(output.out);
  EXPECT_EQ(parsed.body, "abcde");
  EXPECT_THAT(parsed.trailer_lines, ElementsAre("X-T: end"));
}

TEST(Lab, RawClientReportsResetsAndRefusals) {
  Topology lab;
  ScriptedOrigin origin(lab.origin(), 80, std::nullopt, [](Peer& peer) {
    static_cast<void>(peer.read_request());
    peer.stream().reset();
  });
  EXPECT_EQ(raw_tcp({.lab = lab}, kOriginV4, 80, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").status, 56);
  origin.stop();
  EXPECT_EQ(raw_tcp({.lab = lab}, kOriginV4, 80, "").status, 7);
}

TEST(Lab, LoadClientHoldsManyConnectionsAtOnce) {
  Topology lab;
  ScriptedOrigin origin(lab.origin(), 80, std::nullopt,
                        answers({{"/", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}}));
  const auto output = load({.lab = lab}, kOriginV4, 80, {"--flows", "300", "--parallel", "300", "--hold"});
  EXPECT_EQ(output.status, 0) << output.out;
  EXPECT_THAT(output.out, HasSubstr("\"held\":300"));
  EXPECT_EQ(origin.connections(), 300U);
  EXPECT_TRUE(eventually(5s, [&] { return origin.open() == 0; }));
}

TEST(Lab, ProcessReportsExitStatusSignalAndOutput) {
  EXPECT_EQ(run_to_end({"sh", "-c", "echo out; echo err >&2; exit 3"}).status, 3);
  EXPECT_EQ(run_to_end({"sh", "-c", "echo out; exit 3"}).out, "out\n");
  EXPECT_EQ(run_to_end({"sh", "-c", "kill -TERM $$"}).status, 128 + SIGTERM);
  EXPECT_THROW(run_to_end({"no-such-program"}), LabError);
}

TEST(Lab, LeftoversOfACrashedTestAreRemovedAtTheNextStart) {
  // A pid that was alive and is dead now stands for the test that crashed.
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ::waitpid(dead, nullptr, 0);
  const auto name = "td-crashed-" + std::to_string(dead);
  run_to_end({"ip", "netns", "add", name});
  std::filesystem::create_directory(cgroup2_mount() / name);
  remove_leftovers();
  EXPECT_FALSE(std::filesystem::exists("/run/netns/" + name));
  EXPECT_FALSE(std::filesystem::exists(cgroup2_mount() / name));
}

TEST(Lab, NamespacesAndCgroupsAreGoneWithTheirObjects) {
  std::string netns;
  std::filesystem::path cgroup;
  {
    Topology lab;
    Cgroup made("gone");
    Process inside({.argv = {"sleep", "100"}, .netns = &lab.client(), .cgroup = &made});
    EXPECT_TRUE(eventually(2s, [&] { return !read_file(made.path() / "cgroup.procs").empty(); }));
    netns = lab.client().path();
    cgroup = made.path();
  }
  EXPECT_FALSE(std::filesystem::exists(netns));
  EXPECT_FALSE(std::filesystem::exists(cgroup));
}

}  // namespace
}  // namespace tapdeck::lab
