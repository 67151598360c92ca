// Clients that speak in turns with their origin over HTTP/1.1 and HTTP/2, recorded, replayed and in hybrid mode.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "netns-tests/clients.h"
#include "netns-tests/daemon_process.h"
#include "netns-tests/eventually.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

const std::string kScript = std::string(TAPDECK_LAB_SOURCE) + "/clients/duplex.js";

class Duplex : public ::testing::TestWithParam<std::string> {
 protected:
  Output talk(const std::string& mode, const std::string& session) {
    const std::string state = lab_.directory() / "run-state";
    return run_in({.lab = lab_}, {tapdeck_binary(), "run", "--state-dir", state, "--mode", mode, "--session", session,
                                  "--fail-on-miss", "--", "node", kScript, "talk", GetParam()});
  }
  Topology lab_;
};

INSTANTIATE_TEST_SUITE_P(Http, Duplex, ::testing::Values("1", "2"));

TEST_P(Duplex, IsRecordedAndReplayedAndPassesInHybrid) {
  Process origin({.argv = {"node", kScript, "serve"}, .netns = &lab_.origin()});
  const std::string port = GetParam() == "1" ? "8081" : "8082";
  ASSERT_TRUE(eventually(10s, [&] {
    return run_to_end({.argv = {"bash", "-c", "exec 3<>/dev/tcp/10.77.2.2/" + port}, .netns = &lab_.origin()}).status ==
           0;
  }));
  const std::string heard = "head 200\nONE\nTWO\nTHREE\nend\n";
  for (const std::string mode : {"record", "hybrid"}) {
    const Output passed = talk(mode, mode);
    EXPECT_EQ(passed.out, heard) << mode;
    EXPECT_THAT(passed.err, HasSubstr("1 recorded, 0 replayed, 0 missed"));
  }
  origin.signal(SIGKILL);
  ASSERT_TRUE(origin.wait(5s));
  for (const auto& [mode, session] : {std::pair("replay", "record"), std::pair("hybrid", "hybrid")}) {
    const Output replayed = talk(mode, session);
    EXPECT_EQ(replayed.out, heard) << mode;
    EXPECT_THAT(replayed.err, HasSubstr("0 recorded, 1 replayed, 0 missed"));
    EXPECT_EQ(replayed.status, 0);
  }
}

}  // namespace
}  // namespace tapdeck::lab
