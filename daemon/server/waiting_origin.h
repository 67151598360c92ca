// Test support: an origin whose connection for a silent client waits for a word of the test. Those before it are idle,
// those behind it serve HTTP.
#pragma once

#include <atomic>
#include <functional>
#include <utility>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {

struct WaitingOrigin {
  // `waits`: which of its connections, from 1.
  explicit WaitingOrigin(int waits) : waits_(waits) {}
  std::atomic<int> begun{0};
  std::atomic<bool> go{false}, done{false};
  // `then`: what it does at the word.
  [[nodiscard]] ScriptedOrigin::Script script(std::function<void(Wire&)> then) {
    return [this, then = std::move(then)](Wire& wire) {
      const int mine = ++begun;
      if (mine > waits_) return http_origin([](const std::string&) { return with_length("after all"); })(wire);
      if (mine == waits_) {
        EXPECT_TRUE(eventually([this] { return go.load(); }));
        then(wire);
        done = true;
      }
      wire.rest();
      return ScriptedOrigin::End::Close;
    };
  }
  // It does that and the client says `bytes` while the worker looks at neither.
  void meet(WorkerRig& rig, Wire& client, std::string_view bytes) {
    const std::scoped_lock hold(rig.flows.mutex);
    const int before = rig.flows.asked;
    const Wire other = rig.connect();
    ASSERT_TRUE(eventually([&] { return rig.flows.asked > before; })) << "the worker hangs";
    go = true;
    ASSERT_TRUE(eventually([&] { return done.load(); }));
    client.write(bytes);
  }

 private:
  int waits_;
};

}  // namespace tapdeck::server
