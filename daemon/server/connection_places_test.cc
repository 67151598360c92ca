// limits.connections: how many are let in, and that each gives its place back however it ends.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using testing::StartsWith;

ScriptedOrigin::End echo(Wire& wire) {
  wire.write("origin got " + wire.rest());
  return ScriptedOrigin::End::Close;
}

RigOptions with_places(uint32_t places) {
  RigOptions options;
  options.config.limits.sniff_timeout = 20ms;
  options.config.limits.connections = places;
  return options;
}

TEST(ConnectionPlaces, OfManyThatComeAtOnceOnlySoManyAreLetIn) {
  constexpr uint32_t kPlaces = 3;
  constexpr size_t kClients = 10;
  WorkerRig rig(with_places(kPlaces));
  ScriptedOrigin origin(echo);
  std::list<Wire> clients;
  {
    const std::scoped_lock hold(rig.flows.mutex);  // the worker hangs in the first one's, the others queue up
    rig.flows.destination = origin.endpoint();
    for (size_t i = 0; i < kClients; ++i) clients.push_back(rig.connect());
    EXPECT_TRUE(eventually([&] { return rig.flows.asked == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return rig.flows.asked == kClients; }));
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::LimitConnections) == kClients - kPlaces; }));
  size_t served = 0;
  for (Wire& client : clients) {
    client.write("\x01opaque");
    client.half_close();
    if (client.rest() == "origin got \x01opaque<EOF><EOF>") ++served;
  }
  EXPECT_EQ(served, kPlaces);
  EXPECT_TRUE(eventually([&] { return rig.connections == 0; }));
  EXPECT_EQ(rig.ask("\x01opaque"), "origin got \x01opaque<EOF><EOF>") << "there is room again";
}

TEST(ConnectionPlaces, AnExceptionGivesThePlaceBackAndADrainDoesNotWaitForIt) {
  WorkerRig rig(with_places(1));
  ScriptedOrigin origin(echo);
  rig.go_to(origin.endpoint());
  rig.sockets.is_broken = true;
  for (int i = 0; i < 3; ++i) EXPECT_THAT(rig.ask("\x01opaque"), StartsWith("<"));
  rig.sockets.is_broken = false;
  EXPECT_EQ(rig.ask("\x01opaque"), "origin got \x01opaque<EOF><EOF>");
  rig.worker->drain();
  EXPECT_TRUE(eventually([&] { return rig.worker->is_drained(); }));
}

TEST(ConnectionPlaces, AListenerThatEndsByAnExceptionIsGoneToo) {
  WorkerRig rig;
  rig.flows.is_broken = true;
  EXPECT_THAT(rig.ask("\x01opaque"), StartsWith("<"));
  EXPECT_TRUE(eventually([&] { return rig.listeners() == 0; }));
  rig.worker->drain();
  EXPECT_TRUE(eventually([&] { return rig.worker->is_drained(); }));
}

}  // namespace
}  // namespace tapdeck::server
