// Uploads that pause: taken neither for a conversation in turns that they are not, nor from what is on tape as a whole.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

RigOptions in_mode(Mode mode) {
  RigOptions options;
  options.mode = mode;
  options.config.limits.idle_timeout = std::chrono::seconds(20);
  return options;
}

std::string head_of(const std::string& body) {
  return "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
}
const std::string kChunked = "POST /a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n";

// When a pause has been noticed: the tape is asked for what begins so.
void await_pause(WorkerRig& rig, uint64_t before) {
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::HotCacheMiss) > before; })) << "the pause was not noticed";
}

TEST(SlowUpload, AFailureOnTapeIsNoConversationInTurns) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin([](Wire& wire) {
    const std::string request = wire.read_until("\r\n0\r\n\r\n");
    if (request.find("bad") == std::string::npos) wire.write(with_length("good"));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(kChunked + "3\r\nbad\r\n0\r\n\r\n"), HasSubstr(" 502 "));
  EXPECT_THAT(rig.ask(kChunked + "3\r\nbbb\r\n0\r\n\r\n"), HasSubstr("good"));
  ASSERT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  const uint64_t before = rig.count(Counter::HotCacheMiss);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kChunked));
  await_pause(rig, before);
  EXPECT_TRUE(wire.write("3\r\nbbb\r\n0\r\n\r\n"));
  EXPECT_THAT(wire.read_until("good"), EndsWith("good"));
}

TEST(SlowUpload, HybridFindsItAmongManyThatBeginAlike) {
  constexpr int kMany = 70;  // more than are looked at
  WorkerRig rig(in_mode(Mode::Hybrid));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("stored"); }));
  rig.go_to(origin.endpoint());
  const auto body = [](int i) { return "body-" + std::to_string(100 + i) + "-tail"; };
  for (int i = 0; i < kMany; ++i) ASSERT_THAT(rig.ask(head_of(body(i)) + body(i)), HasSubstr("stored"));
  ASSERT_TRUE(eventually([&] { return rig.store->stored_recordings() == kMany; }));
  origin.stop();
  const uint64_t before = rig.count(Counter::HotCacheMiss);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(head_of(body(0)) + "body-100"));
  await_pause(rig, before);
  EXPECT_TRUE(wire.write("-tail"));
  EXPECT_THAT(wire.read_until("stored"), EndsWith("stored"));
}

TEST(SlowUpload, HybridAsksForAClientThatStandsStillThoughItAnnouncedMore) {
  WorkerRig rig(in_mode(Mode::Hybrid));
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("half");
    wire.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(head_of("half and more") + "half"));
  EXPECT_THAT(wire.read_until("\r\n\r\nno"), HasSubstr(" 401 "));
}

}  // namespace
}  // namespace tapdeck::server
