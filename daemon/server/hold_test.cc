// Traffic first: a store that does not answer in time costs the recording, or, for a strict target, the response.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

const std::string kGet = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

RigOptions without_patience() {
  RigOptions options;
  options.config.storage.hold_limit = std::chrono::milliseconds(0);
  return options;
}

TEST(Hold, BytesFlowWhenTheStoreIsTooSlowAndTheLossIsCounted) {
  WorkerRig rig(without_patience());
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("first"); }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(kGet), with_length("first") + "<EOF>");
  EXPECT_EQ(rig.count(Counter::StoreHoldExceeded), 1U);
  EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U);
  EXPECT_EQ(rig.count(Counter::IncompleteStoreSlow), 1U) << "is anything lost?";
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Forwarded) == 1; }));
}

TEST(Hold, AStrictTargetGetsAResetInstead) {
  WorkerRig rig(without_patience());
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("first"); }));
  rig.go_to(origin.endpoint());
  rig.set_mode(Mode::Record, {}, modes::Strict::Yes);
  EXPECT_THAT(rig.ask(kGet), testing::EndsWith("<RST>"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
}

TEST(Hold, WhatAStrictClientWasNotGivenIsNotReplayed) {
  WorkerRig rig(without_patience());
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("first"); }));
  rig.go_to(origin.endpoint());
  rig.set_mode(Mode::Record, {}, modes::Strict::Yes);
  EXPECT_THAT(rig.ask(kGet), testing::EndsWith("<RST>"));
  rig.set_mode(Mode::Record);
  const std::string other = "GET /b HTTP/1.1\r\nHost: api.test\r\n\r\n";
  EXPECT_EQ(rig.ask(other), with_length("first") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; })) << "late, and on tape all the same";
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(kGet), testing::HasSubstr("not_recorded"));
  EXPECT_EQ(rig.ask(other), with_length("first") + "<EOF>");
}

}  // namespace
}  // namespace tapdeck::server
