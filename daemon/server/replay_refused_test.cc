// Refused connects in replay, by a reset of the client's connection: the way of every path but the kernel's own.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "daemon/server/grpc_rig.h"
#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kAskA = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

RigOptions refusing(config::Route route = {}) {
  RigOptions options;
  options.config.proxy.replay_refused = config::ReplayRefused::Refuse;
  if (route.repeat != config::Repeat::InOrder) options.config.routes.push_back(std::move(route));
  return options;
}

// Where nobody listens.
void go_nowhere(WorkerRig& rig) {
  rig.go_to(*Endpoint::parse("127.0.0.1:1"));
}

TEST(ReplayRefused, ResetsFromDiskAndFromMemory) {
  WorkerRig rig(refusing());
  go_nowhere(rig);
  EXPECT_THAT(rig.ask(kAskA), StartsWith("HTTP/1.1 502")) << "while recording nothing else is possible";
  ASSERT_TRUE(eventually([&] { return rig.count(Counter::RecordingFailed) == 1; }));
  rig.set_mode(Mode::Replay);
  const int dialled = rig.sockets.made;
  for (uint64_t turn = 1; turn <= 2; ++turn) {
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.write(kAskA));
    EXPECT_EQ(wire.rest(), "<RST>");
    EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == turn; }));
    EXPECT_EQ(rig.count(Counter::ReplayRefusedReset), turn);
  }
  EXPECT_EQ(rig.sockets.made, dialled);
}

TEST(ReplayRefused, OneThatWasAnsweredLaterIsResetOnce) {
  WorkerRig rig(refusing());
  UniqueFd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(bound.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  rig.go_to(local_endpoint(bound.get()));
  EXPECT_THAT(rig.ask(kAskA), StartsWith("HTTP/1.1 502"));
  ASSERT_EQ(::listen(bound.get(), 1), 0);
  std::thread origin([&] {
    Wire peer{UniqueFd(::accept(bound.get(), nullptr, nullptr))};
    EXPECT_EQ(peer.read_until("\r\n\r\n").find("GET /a"), 0U);
    EXPECT_TRUE(peer.write(with_length("late")));
    peer.half_close();
  });
  EXPECT_THAT(rig.ask(kAskA), HasSubstr("late"));
  origin.join();
  ASSERT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  rig.set_mode(Mode::Replay);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kAskA));
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_THAT(rig.ask(kAskA), HasSubstr("late"));
  EXPECT_THAT(rig.ask(kAskA), HasSubstr("late"));
  EXPECT_EQ(rig.count(Counter::ReplayRefusedReset), 1U);
}

TEST(ReplayRefused, OtherFailuresAreAnsweredAsRecorded) {
  WorkerRig rig(refusing());
  ScriptedOrigin origin(http_origin([](const std::string&) { return "<FIN>"; }));
  rig.go_to(origin.endpoint());
  const std::string recorded = rig.ask(kAskA);
  EXPECT_THAT(recorded, HasSubstr("upstream_truncated"));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(kAskA), recorded);
}

TEST(ReplayRefused, AnHttp2ClientLosesItsConnection) {
  WorkerRig rig(refusing());
  go_nowhere(rig);
  for (const Mode mode : {Mode::Record, Mode::Replay}) {
    rig.set_mode(mode);
    Wire raw = rig.connect();
    H2Wire client(raw, http::Role::Client);
    client.request("GET", "/a");
    if (mode == Mode::Record) {
      EXPECT_THAT(client.until("END 1"), StartsWith("HEAD 1 502"));
      ASSERT_TRUE(eventually([&] { return rig.count(Counter::RecordingFailed) == 1; }));
      raw.close();
      continue;
    }
    // Not by the codec, whose acknowledgement of our settings would be told of the reset in the reader's place.
    EXPECT_THAT(raw.rest(), EndsWith("<RST>"));
  }
  EXPECT_EQ(rig.count(Counter::ReplayRefusedReset), 1U);
}

TEST(ReplayRefused, ACallLosesItsConnection) {
  WorkerRig rig(refusing());
  go_nowhere(rig);
  const std::string sent = call("Talk") + message("one") + kEnd;
  EXPECT_THAT(rig.ask(sent), StartsWith("HTTP/1.1 502"));
  ASSERT_TRUE(eventually([&] { return rig.count(Counter::RecordingFailed) == 1; }));
  rig.set_mode(Mode::Replay);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(sent));
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_EQ(rig.count(Counter::ReplayRefusedReset), 1U);
}

TEST(ReplayRefused, UsedUpItIsAMissLikeAnythingElse) {
  config::Route once;
  once.repeat = config::Repeat::Once;
  WorkerRig rig(refusing(once));
  go_nowhere(rig);
  EXPECT_THAT(rig.ask(kAskA), StartsWith("HTTP/1.1 502"));
  ASSERT_TRUE(eventually([&] { return rig.count(Counter::RecordingFailed) == 1; }));
  rig.set_mode(Mode::Replay);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(kAskA));
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_THAT(rig.ask(kAskA), HasSubstr("not_recorded"));
}

}  // namespace
}  // namespace tapdeck::server
