// A target whose session is not there: what needs one is told so, and never passed on.
#include <gmock/gmock.h>

#include "daemon/server/grpc_rig.h"

namespace tapdeck::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

config::Route forwards() {
  config::Route route;
  route.on_miss = config::OnMiss::Forward;
  return route;
}

TEST(NoSession, IsA503InEveryModeThatNeedsOne) {
  for (const Mode mode : {Mode::Record, Mode::Replay, Mode::Hybrid}) {
    for (const config::Route& route : {config::Route{}, forwards()}) {
      RigOptions options;
      options.mode = mode;
      options.config.routes.push_back(route);
      WorkerRig rig(std::move(options));
      std::atomic<int> asked{0};
      ScriptedOrigin origin(http_origin([&](const std::string&) {
        ++asked;
        return with_length("live");
      }));
      rig.go_to(origin.endpoint());
      rig.lose_session();
      EXPECT_THAT(rig.ask("GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n"),
                  AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("\"error\":\"no_session\",\"session\":\"default\"")))
          << to_string(mode);
      EXPECT_EQ(rig.count(Counter::StoreErrorOpen), 1U);
      EXPECT_EQ(rig.outcomes(mode, Outcome::Failed), 1U);
      EXPECT_EQ(asked, 0);
    }
  }
}

TEST(NoSession, IsAStatusToGrpc) {
  WorkerRig rig;
  rig.go_to(*Endpoint::parse("127.0.0.1:1"));
  rig.set_mode(Mode::Replay);
  rig.lose_session();
  EXPECT_THAT(rig.ask(call("Get") + message("q") + kEnd),
              AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("grpc-status: 14\r\n"), HasSubstr("no_session")));
}

}  // namespace
}  // namespace tapdeck::server
