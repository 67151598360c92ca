#include "daemon/server/listener.h"

#include <gtest/gtest.h>

#include <vector>

#include "daemon/base/eventually.h"
#include "daemon/base/test_descriptors.h"
#include "daemon/net/task_group.h"
#include "daemon/server/wire.h"

namespace tapdeck::server {
namespace {

TEST(Listener, FinishTakesThoseWhoWaitAndCloseResetsThem) {
  for (const bool finishes : {true, false}) {
    asio::io_context io;
    MetricsRegistry registry;
    std::vector<UniqueFd> accepted;
    UniqueFd fd = listen_on_loopback();
    ASSERT_EQ(::listen(fd.get(), 128), 0);  // who finds the queue full waits
    const Endpoint address = local_endpoint(fd.get());
    Listener listener(
        io.get_executor(), std::move(fd), {CapturePath::Cgroup, 1, 0, 0}, registry.create(),
        [&](const ListenerTag&, UniqueFd client, const Endpoint&) { accepted.push_back(std::move(client)); });
    std::vector<Wire> clients;
    for (int i = 0; i < 65; ++i) clients.push_back(Wire::connect(address));  // more than a batch
    finishes ? listener.finish() : listener.close();
    EXPECT_EQ(accepted.size(), finishes ? 65U : 0U);
    accepted.clear();
    EXPECT_EQ(clients.back().rest(), finishes ? "<EOF>" : "<RST>");
  }
}

// A listener that runs while the test looks, with clients that wait for it already.
struct Waited {
  asio::io_context io;
  MetricsRegistry registry;
  std::vector<UniqueFd> accepted;
  UniqueFd fd = listen_on_loopback();
  const Endpoint address = local_endpoint(fd.get());
  Listener listener{
      io.get_executor(),
      std::move(fd),
      {CapturePath::Explicit, 1, 0, 0},
      registry.create(),
      [this](const ListenerTag&, UniqueFd client, const Endpoint&) { accepted.push_back(std::move(client)); }};
  std::vector<Wire> clients;
  net::TaskGroup group{io.get_executor()};

  explicit Waited(int waiting) {
    for (int i = 0; i < waiting; ++i) clients.push_back(Wire::connect(address));
  }
  ~Waited() {
    listener.close();
    group.cancel();
    io.run();
  }
  Waited(const Waited&) = delete;
  Waited& operator=(const Waited&) = delete;

  void start() { group.spawn(listener.run()); }
  [[nodiscard]] bool after(const auto& condition) {
    return eventually([&] {
      io.poll();
      return condition();
    });
  }
  [[nodiscard]] uint64_t pauses() { return registry.snapshot().value(Counter::LimitDescriptors); }
};

TEST(Listener, LeavesWhatIsKeptForOthersAndTakesThoseWhoWaitLater) {
  Waited it(5);
  const BoundDescriptors bounds({.accepting = descriptor_after(2)});
  it.start();
  EXPECT_TRUE(it.after([&] { return it.pauses() == 2; }));
  EXPECT_EQ(it.accepted.size(), 2U);
  it.accepted.pop_back();
  EXPECT_TRUE(it.after([&] { return it.accepted.size() == 2; }));
  EXPECT_TRUE(it.after([&] { return it.pauses() >= 4; }));
  EXPECT_EQ(it.accepted.size(), 2U);
  it.accepted.clear();
  set_descriptor_bounds({});
  EXPECT_TRUE(it.after([&] { return it.accepted.size() == 2; })) << "all five: nobody who waited was lost";
}

TEST(Listener, WhoComesFirstToOneThatBeginsAtTheBoundIsNotLost) {
  Waited it(3);
  const BoundDescriptors bounds({.accepting = descriptor_after(0)});
  it.start();
  EXPECT_TRUE(it.after([&] { return it.pauses() >= 2; }));
  EXPECT_LE(it.accepted.size(), 1U) << "those behind it wait";
  set_descriptor_bounds({});
  EXPECT_TRUE(it.after([&] { return it.accepted.size() == 3; }));
}

}  // namespace
}  // namespace tapdeck::server
