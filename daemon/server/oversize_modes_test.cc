// body_oversize = "error" where tape and origin both may answer: the origin's answers are measured, ours are not.
#include <gmock/gmock.h>

#include "daemon/coding/decoder.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kAsk = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

RigOptions limited_to(uint64_t bytes) {
  RigOptions options;
  options.config.limits.max_body = bytes;
  options.config.limits.body_oversize = config::BodyOversize::Error;
  return options;
}

// What was within the limit when it was recorded, coded, is not when it is sent.
TEST(OversizeModes, InHybridModeTheTapeIsNotMeasuredAndTheOriginIs) {
  WorkerRig rig(limited_to(100));
  const std::string text(1000, 'x');
  coding::Encoder encoder(coding::Coding::Gzip);
  std::string coded;
  ASSERT_TRUE(encoder.feed(text, coded) && encoder.finish(coded));
  ASSERT_LT(coded.size(), 100U);
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ";
  ScriptedOrigin origin(http_origin([&](const std::string& request) {
    if (request.contains("/long")) return with_length(text);
    return head + std::to_string(coded.size()) + "\r\n\r\n" + coded;
  }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask("GET /a HTTP/1.1\r\nHost: api.test\r\nAccept-Encoding: gzip\r\n\r\n"), HasSubstr("200 OK"));
  rig.set_mode(Mode::Hybrid);
  EXPECT_THAT(rig.ask(kAsk), EndsWith("\r\n\r\n" + text + "<EOF>"));
  EXPECT_EQ(rig.count(Counter::LimitMaxBody), 0U);
  EXPECT_THAT(rig.ask("GET /long HTTP/1.1\r\nHost: api.test\r\n\r\n"), StartsWith("HTTP/1.1 502"));
  EXPECT_EQ(rig.count(Counter::LimitMaxBody), 1U);
}

TEST(OversizeModes, InReplayTheOriginThatIsAskedOnAMissIsMeasured) {
  RigOptions options = limited_to(8);
  options.mode = Mode::Replay;
  options.config.routes.emplace_back().on_miss = config::OnMiss::Forward;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("0123456789"); }));
  rig.go_to(origin.endpoint());
  const std::string answer = rig.ask(kAsk);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(answer, HasSubstr("upstream_too_large"));
  EXPECT_EQ(rig.count(Counter::LimitMaxBody), 1U);
}

TEST(OversizeModes, WhatIsBrokenOffIsOnTapeAsFarAsItsClientGotIt) {
  WorkerRig rig(limited_to(2048));
  const std::string chunk = "3e8\r\n" + std::string(1000, 'x') + "\r\n";
  const std::string whole = chunk + chunk + chunk + chunk + chunk + "0\r\n\r\n";
  ScriptedOrigin origin(
      http_origin([&](const std::string&) { return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + whole; }));
  rig.go_to(origin.endpoint());
  const auto letters = [&] { return std::ranges::count(rig.ask(kAsk), 'x'); };
  EXPECT_EQ(letters(), 2000);
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::LimitMaxBody) == 1; }));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(letters(), 2000);
}

}  // namespace
}  // namespace tapdeck::server
