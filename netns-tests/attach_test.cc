// `tapdeck attach` finds its target by process id as by cgroup or interface, and every kind of TCP socket inside it is
// captured alike. (Containers: podman_test.cc; units: systemd_test.cc.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

TEST(Attach, ByPidCapturesTheCgroupOfThatProcess) {
  Topology lab;
  DaemonProcess daemon(lab);
  Cgroup cgroup("client");
  Process resident({.argv = {"sleep", "infinity"}, .netns = &lab.client(), .cgroup = &cgroup});
  ScriptedOrigin origin(lab.origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  const auto pid = std::to_string(resident.pid());
  daemon.must_cli({"attach", "--pid", pid, "--name", "worker"});
  ASSERT_EQ(raw_tcp({.lab = lab, .cgroup = &cgroup}, kOriginV4, 80, get_request("/")).status, 0);
  EXPECT_EQ(daemon.metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 1.0);
  const auto targets = nlohmann::json::parse(daemon.must_cli({"targets", "--json"}));
  ASSERT_EQ(targets["items"].size(), 1U) << targets;
  EXPECT_EQ(targets["items"][0]["name"], "worker");
  daemon.must_cli({"detach", "worker"});
  ASSERT_EQ(raw_tcp({.lab = lab, .cgroup = &cgroup}, kOriginV4, 80, get_request("/")).status, 0);
  EXPECT_EQ(daemon.metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 1.0) << "detached, yet captured";
}

TEST(Attach, ByTheIdOfNoProcessIsAnErrorThatSaysSo) {
  Topology lab;
  const DaemonProcess daemon(lab);
  const auto output = daemon.cli({"attach", "--pid", "999999"});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("999999"));
}

TEST(Attach, AgainUpdatesTheTargetAndKeepsItsId) {
  Captured captured;
  const auto again = captured.daemon().attach_cgroup(captured.cgroup(), {"--mode", "passthrough"});
  EXPECT_EQ(again, captured.target());
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  ASSERT_EQ(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/")).status, 0);
  EXPECT_EQ(captured.recordings(), 0U);
}

TEST(Attach, OfACgroupIsTheSameHoweverItIsWritten) {
  Captured captured;
  const std::string path = captured.cgroup().path();
  const std::string below = path.substr(cgroup2_mount().string().size());
  for (const std::string& spelling : {below, below.substr(1), path + "/", "/x/.." + below}) {
    const auto answer = captured.daemon().must_cli({"attach", "--json", "--cgroup", spelling, "--mode", "passthrough"});
    EXPECT_EQ(nlohmann::json::parse(answer)["id"], captured.target()) << spelling;
  }
  captured.daemon().must_cli({"detach", "cgroup:" + below});
  EXPECT_EQ(captured.daemon().cli({"detach", captured.target()}).status, 1) << "that was it";
}

class Sockets : public ::testing::TestWithParam<CaptureBy> {};
INSTANTIATE_TEST_SUITE_P(Path, Sockets, ::testing::Values(CaptureBy::Cgroup, CaptureBy::Interface),
                         [](const auto& info) { return to_string(info.param); });

// One request, and what the socket says of its two ends, as a program that looks at them sees it.
constexpr const char* kAsk = R"(
import socket, sys
family, v6only, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
s = socket.socket(family, socket.SOCK_STREAM)
s.settimeout(10)
if v6only >= 0: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
s.connect((address, 80))
print(s.getpeername()[0], s.getpeername()[1], s.getsockname()[0])
s.sendall(b"GET / HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
print(s.recv(100000).decode().splitlines()[0])
)";

TEST_P(Sockets, OfEveryFamilyAreCapturedAndSeeTheAddressesTheyAskedFor) {
  Captured captured(GetParam());
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  struct Kind {
    int family;
    int v6only;  // -1: the default
    const char* address;
    const char* local;
  };
  const std::vector<Kind> kinds = {{AF_INET, -1, "10.77.2.2", "10.77.1.2"},
                                   {AF_INET6, -1, "fd77:2::2", "fd77:1::2"},
                                   {AF_INET6, 0, "::ffff:10.77.2.2", "::ffff:10.77.1.2"},
                                   {AF_INET6, 1, "fd77:2::2", "fd77:1::2"}};
  double recorded = 0;
  for (const auto& kind : kinds) {
    const auto output = run_in(captured.seat(), {"/usr/bin/python3", "-c", kAsk, std::to_string(kind.family),
                                                 std::to_string(kind.v6only), kind.address});
    EXPECT_EQ(output.out, std::string(kind.address) + " 80 " + kind.local + "\nHTTP/1.1 200 OK\n") << output.err;
    EXPECT_EQ(captured.daemon().metric("tapdeck_requests_total", {"outcome=\"recorded\""}), ++recorded);
  }
}

}  // namespace
}  // namespace tapdeck::lab
