// Clients whose target has no process any more.
#include "daemon/server/dead_clients.h"

#include <gmock/gmock.h>

#include <atomic>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

const std::string kAskForHalf = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n";

class DeadClients : public testing::Test {
 protected:
  DeadClients() { rig.go_to(origin.endpoint()); }
  ~DeadClients() override { go = true; }
  // The first half of a response has come.
  Wire ask() {
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.write(kAskForHalf));
    EXPECT_THAT(wire.read_until("half"), EndsWith("half"));
    return wire;
  }
  std::atomic<bool> go{false};
  WorkerRig rig;
  ScriptedOrigin origin{[this](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    EXPECT_TRUE(eventually([&] { return go.load(); }));
    wire.write(" more");
    return ScriptedOrigin::End::Close;
  }};
};

TEST_F(DeadClients, AResponseThatNobodyReadsOnIsLeftWhereItIs) {
  Wire wire = ask();
  ::shutdown(wire.fd(), SHUT_WR);  // as when the network went before the answer to what is sent on
  rig.worker->lose_dead(kSlot);
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  const auto page = tls::testing::must(rig.store->list_recordings({}));
  EXPECT_EQ(page.items.front().outcome.kind, store::Outcome::Kind::Incomplete);
  EXPECT_EQ(page.items.front().outcome.reason, "client_gone");
}

// It left its target in time, or came after the others.
TEST_F(DeadClients, WhoLivesIsAnswered) {
  Wire left = ask();
  Wire dead = ask();
  ::shutdown(dead.fd(), SHUT_WR);
  rig.worker->lose_dead(kSlot);
  EXPECT_THAT(rig.ask("GET / HTTP/1.1\r\n\r\n"), HasSubstr(" 400 "));  // behind what the worker was told
  Wire later = ask();
  ::shutdown(later.fd(), SHUT_WR);
  EXPECT_EQ(dead.rest(), "<RST>");
  go = true;
  EXPECT_EQ(left.read_until("more"), " more");
  EXPECT_EQ(later.rest(), " more<EOF>");
}

}  // namespace
}  // namespace tapdeck::server
