// A target that is detached, or replayed from now on: its open connections end or go on as if they had never been
// captured, and never get what belongs to the target that has the slot next.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

const std::string kAsk = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

TEST(Detached, IdleConnectionsAreClosed) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("first"); }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(kAsk);
  EXPECT_THAT(wire.read_until("first"), EndsWith("first"));
  rig.detach();
  EXPECT_EQ(wire.rest(), "<EOF>");
}

TEST(Detached, WhatIsBeingAnsweredIsAnswered) {
  WorkerRig rig;
  std::promise<void> detached;
  std::atomic<bool> asked = false;
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    asked = true;
    detached.get_future().wait();
    return with_length("whole");
  }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(kAsk);
  EXPECT_TRUE(eventually([&] { return asked.load(); }));
  rig.detach();
  detached.set_value();
  EXPECT_THAT(wire.rest(), HasSubstr("whole"));
}

TEST(Detached, TheNextTargetOfItsSlotIsNotItsOwn) {
  WorkerRig rig;
  std::atomic<int> asked = 0;
  ScriptedOrigin origin(http_origin([&](const std::string&) { return with_length(std::to_string(++asked)); }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(kAsk), HasSubstr("\r\n\r\n1"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  Wire old = rig.connect();
  EXPECT_TRUE(eventually([&] { return rig.active() == 1; }));
  rig.detach();
  rig.set_mode(Mode::Replay);  // somebody else, who has the slot and a tape that knows /a
  old.write(kAsk);
  EXPECT_THAT(old.read_until("\r\n\r\n2"), EndsWith("\r\n\r\n2")) << "from the origin";
  old.close();
  EXPECT_THAT(rig.ask(kAsk), HasSubstr("\r\n\r\n1")) << "the new target's clients are answered";
  EXPECT_EQ(rig.store->stored_recordings(), 1U);
  EXPECT_EQ(rig.outcomes(Mode::Passthrough, Outcome::Forwarded), 1U);
}

WorkerRig::Options that_sniffs_briefly() {
  WorkerRig::Options options;
  options.config.limits.sniff_timeout = std::chrono::milliseconds(20);
  return options;
}

// Speaks first, and says one line again.
ScriptedOrigin::End greet(Wire& wire) {
  wire.write("220 ready\r\n");
  wire.write(wire.read_until("\n"));
  return ScriptedOrigin::End::Close;
}

const std::string kUpgrade = "GET /a HTTP/1.1\r\nHost: api.test\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";

// Takes an upgrade up when `is_time`, greets, and says one line again.
ScriptedOrigin::Script upgrades(std::function<void()> is_time = [] {}) {
  return [is_time = std::move(is_time)](Wire& wire) {
    wire.read_until("\r\n\r\n");
    is_time();
    wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nhello\n");
    wire.write(wire.read_until("\n"));
    return ScriptedOrigin::End::Close;
  };
}

// Nothing of a replayed target reaches an origin, not even by what was opened before.
TEST(Replayed, ATunnelIsResetAndCountedAsAMiss) {
  WorkerRig rig(that_sniffs_briefly());
  ScriptedOrigin origin([](Wire& wire) {
    wire.write("220 ready\r\n");
    wire.write(wire.read_until("\n"));
    ignore(wire.rest(), "until it is ended");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_EQ(wire.read_until("\r\n"), "220 ready\r\n");
  rig.worker->reset_tunnels(kSlot);  // still recorded: nothing happens
  wire.write("said\n");
  EXPECT_EQ(wire.read_until("\n"), "said\n");
  rig.set_mode(Mode::Replay);
  rig.worker->reset_tunnels(kSlot);
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::MissOpaque) == 1; }));
}

TEST(Replayed, WhatAnUpgradeBeganIsATunnelToo) {
  WorkerRig rig;
  ScriptedOrigin origin(upgrades());
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(kUpgrade);
  EXPECT_THAT(wire.read_until("hello\n"), EndsWith("hello\n"));
  rig.set_mode(Mode::Replay);
  rig.worker->reset_tunnels(kSlot);
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::MissOpaque) == 1; }));
}

TEST(Replayed, WhatWouldBecomeATunnelIsReset) {
  WorkerRig rig;
  std::promise<void> replayed;
  std::atomic<bool> asked = false;
  ScriptedOrigin origin(upgrades([&] {
    asked = true;
    replayed.get_future().wait();
  }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(kUpgrade);
  EXPECT_TRUE(eventually([&] { return asked.load(); }));
  rig.set_mode(Mode::Replay);
  rig.worker->reset_tunnels(kSlot);
  EXPECT_THAT(rig.ask("GET / HTTP/1.1\r\n\r\n"), HasSubstr(" 400 "));  // its worker has come behind that by now
  replayed.set_value();
  EXPECT_THAT(wire.rest(), testing::AllOf(EndsWith("<RST>"), testing::Not(HasSubstr("hello"))));
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::MissOpaque) == 1; }));
}

TEST(Replayed, WhatItsRouteLetsPassGoesOn) {
  WorkerRig::Options options;
  options.config.routes.emplace_back().mode = Mode::Passthrough;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(upgrades());
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(kUpgrade);
  EXPECT_THAT(wire.read_until("hello\n"), EndsWith("hello\n"));
  rig.set_mode(Mode::Replay);
  rig.worker->reset_tunnels(kSlot);
  wire.write("said\n");
  EXPECT_EQ(wire.read_until("\n"), "said\n");
  wire.close();
}

TEST(Replayed, ATunnelOfATargetThatHadTheSlotBeforeGoesOn) {
  WorkerRig rig(that_sniffs_briefly());
  ScriptedOrigin origin(greet);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_EQ(wire.read_until("\r\n"), "220 ready\r\n");
  rig.detach();
  rig.set_mode(Mode::Replay);
  rig.worker->reset_tunnels(kSlot);
  wire.write("said\n");
  EXPECT_EQ(wire.rest(), "said\n<EOF>");
}

}  // namespace
}  // namespace tapdeck::server
