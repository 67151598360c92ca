#include "daemon/app/run_summary.h"

#include <gtest/gtest.h>

namespace tapdeck::app {
namespace {

RunSummary example() {
  RunSummary summary;
  summary.session = "s";
  summary.mode = Mode::Replay;
  summary.replayed = 3;
  summary.missed = 1;
  summary.tunnelled = 2;
  summary.uncaptured = {{"quic", 4}, {"udp", 1}, {"raw", 0}};
  summary.refused = {{7, "curl\xff", "tcp", "192.0.2.1:443", "api.example"}};
  summary.exit = 3;
  return summary;
}

TEST(RunSummary, PrintsTheLineThatScriptsLookFor) {
  EXPECT_EQ(summary_line(example()),
            "tapdeck: session s: 0 recorded, 3 replayed, 1 missed, 2 tunnelled, 5 not captured");
}

TEST(RunSummary, WritesTheShapeThatTestsRelyOn) {
  EXPECT_EQ(
      summary_json(example()),
      "{\"session\":\"s\",\"mode\":\"replay\",\"take\":0,\"recorded\":0,\"replayed\":3,\"missed\":1,"
      "\"tunnelled\":2,\"uncaptured\":{\"quic\":4,\"udp\":1},\"refused\":[{\"pid\":7,\"comm\":\"curl\xEF\xBF\xBD\","
      "\"protocol\":\"tcp\",\"destination\":\"192.0.2.1:443\",\"name\":\"api.example\"}],\"exit\":3}\n");
}

}  // namespace
}  // namespace tapdeck::app
