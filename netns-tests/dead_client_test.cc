// A container that is killed in the middle of an exchange: its network goes with it, though its namespace stays as long
// as we have sockets there, and its connections end all the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <optional>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

enum class Network { AddressesGoAfterIt, LoopbackGoesBeforeIt };
enum class Origin { IsQuiet, GoesOn };

class DeadClient : public ::testing::TestWithParam<std::tuple<Network, Origin>> {};
INSTANTIATE_TEST_SUITE_P(All, DeadClient,
                         ::testing::Combine(::testing::Values(Network::AddressesGoAfterIt,
                                                              Network::LoopbackGoesBeforeIt),
                                            ::testing::Values(Origin::IsQuiet, Origin::GoesOn)));

TEST_P(DeadClient, IsNotWaitedForAndRecordedAsGone) {
  const auto [network, manner] = GetParam();
  Topology lab;
  DaemonProcess daemon(lab);
  Cgroup cgroup("client");
  std::optional<Process> resident;
  resident.emplace(ProcessOptions{.argv = {"sleep", "infinity"}, .netns = &lab.client(), .cgroup = &cgroup});
  daemon.attach_cgroup(cgroup);
  std::atomic<bool> over = false;
  ScriptedOrigin origin(lab.origin(), 80, std::nullopt, [&](Peer& peer) {
    if (peer.read_request().empty()) return;
    peer.stream().send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    while (!eventually(100ms, [&] { return over.load(); })) {
      if (manner == Origin::GoesOn && !peer.stream().send("4\r\nmore\r\n")) return;
    }
  });
  const Seat seat{.lab = lab, .cgroup = &cgroup};
  Process client(seated(seat, {"curl", "-sN", std::string("http://") + kOriginV4 + "/"}));
  EXPECT_TRUE(eventually(10s, [&] { return client.out().starts_with("first"); })) << client.err();
  const auto active = [&] { return daemon.metric("tapdeck_active_connections", {"path=\"cgroup\""}); };
  EXPECT_EQ(active(), 1);
  if (network == Network::LoopbackGoesBeforeIt) lab.client().ip("link set lo down");
  client.signal(SIGKILL);
  EXPECT_TRUE(client.wait(5s));
  resident.reset();
  if (network == Network::AddressesGoAfterIt) lab.client().ip("address flush scope global");
  EXPECT_TRUE(eventually(5s, [&] { return active() == 0; }));
  over = true;
  EXPECT_TRUE(eventually(5s, [&] { return daemon.metric("tapdeck_recordings_total") > 0; }));
  const auto list = nlohmann::json::parse(daemon.must_cli({"recording", "list", "--json"}));
  ASSERT_EQ(list["items"].size(), 1U);
  EXPECT_EQ(list["items"][0]["outcome"], "incomplete");
  EXPECT_THAT(daemon.log(), HasSubstr("error.type=client_gone"));
}

}  // namespace
}  // namespace tapdeck::lab
