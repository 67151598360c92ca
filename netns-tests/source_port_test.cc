// Two namespaces using the same source port towards the same destination at the same time: the flow map must keep them
// apart (netns cookie), on either path. And one client that uses its port again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

class SourcePort : public ::testing::TestWithParam<CaptureBy> {};
INSTANTIATE_TEST_SUITE_P(Path, SourcePort, ::testing::Values(CaptureBy::Cgroup, CaptureBy::Interface),
                         [](const auto& info) { return to_string(info.param); });

TEST_P(SourcePort, TwoNamespacesUsingTheSamePortAtOnceGetTheirOwnAnswers) {
  Topology lab;
  const auto& second = lab.add_client();
  DaemonProcess daemon(lab);
  Cgroup cgroup("client");
  // Both namespaces have a resident, so that the daemon knows them at attach.
  Process here({.argv = {"sleep", "infinity"}, .netns = &lab.client(), .cgroup = &cgroup});
  Process there({.argv = {"sleep", "infinity"}, .netns = &second, .cgroup = &cgroup});
  const bool by_cgroup = GetParam() == CaptureBy::Cgroup;
  if (by_cgroup) {
    daemon.attach_cgroup(cgroup);
  } else {
    daemon.attach_interface(kClientSide);
    daemon.attach_interface("to-client1");
  }
  std::atomic<int> arrived = 0;
  ScriptedOrigin origin(lab.origin(), 80, std::nullopt, [&](Peer& peer) {
    const auto request = peer.read_request();
    ++arrived;
    // Both are open before either is answered.
    EXPECT_TRUE(eventually(10s, [&] { return arrived == 2; }));
    peer.stream().send(ok_response("for " + target_of(request)));
  });
  const auto start = [&](const Seat& seat, const std::string& path) {
    auto options = seated(seat, {lab_peer_binary(), "bytes", kOriginV4, "80", "--from", "33333"});
    options.input = get_request(path);
    return std::make_unique<Process>(options);
  };
  const auto a = start({.lab = lab, .cgroup = by_cgroup ? &cgroup : nullptr}, "/a");
  const auto b = start({.lab = lab, .cgroup = by_cgroup ? &cgroup : nullptr, .from = &second}, "/b");
  EXPECT_EQ(a->wait(20s), 0) << a->err();
  EXPECT_EQ(b->wait(20s), 0) << b->err();
  EXPECT_EQ(parse_raw(a->out()).body, "for /a");
  EXPECT_EQ(parse_raw(b->out()).body, "for /b");
  EXPECT_EQ(daemon.metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 2.0);
}

// The daemon ends the connection first, so that it, not the client, is left with TIME_WAIT.
TEST(OwnSourcePort, OfAConnectionThatWeEndedIsNotLostToItsClient) {
  Captured captured(CaptureBy::Interface);
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("again")}}));
  for (int turn = 0; turn < 3; ++turn) {
    Stream client = connect_from(captured.lab().client(), Endpoint::parse(kOriginV4, 80).value(), 33333);
    client.send(get_request("/"));
    EXPECT_THAT(client.read_to_end(), ::testing::EndsWith("again")) << turn;
  }
  EXPECT_EQ(captured.daemon().metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 3.0);
}

}  // namespace
}  // namespace tapdeck::lab
