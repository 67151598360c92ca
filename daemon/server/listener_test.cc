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

TEST(Listener, LeavesWhatIsKeptForOthersAndTakesThoseWhoWaitLater) {
  asio::io_context io;
  MetricsRegistry registry;
  std::vector<UniqueFd> accepted;
  UniqueFd fd = listen_on_loopback();
  const Endpoint address = local_endpoint(fd.get());
  Listener listener(
      io.get_executor(), std::move(fd), {CapturePath::Explicit, 1, 0, 0}, registry.create(),
      [&](const ListenerTag&, UniqueFd client, const Endpoint&) { accepted.push_back(std::move(client)); });
  std::vector<Wire> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(Wire::connect(address));
  const BoundDescriptors bounds({.accepting = descriptor_after(2)});
  net::TaskGroup group(io.get_executor());
  group.spawn(listener.run());
  const auto pauses = [&] { return registry.snapshot().value(Counter::LimitDescriptors); };
  const auto after = [&](const auto& condition) {
    return eventually([&] {
      io.poll();
      return condition();
    });
  };
  EXPECT_TRUE(after([&] { return pauses() == 2; }));
  EXPECT_EQ(accepted.size(), 2U);
  accepted.pop_back();
  EXPECT_TRUE(after([&] { return accepted.size() == 2; }));
  EXPECT_TRUE(after([&] { return pauses() >= 4; }));
  EXPECT_EQ(accepted.size(), 2U);
  accepted.clear();
  set_descriptor_bounds({});
  EXPECT_TRUE(after([&] { return accepted.size() == 2; })) << "all five: nobody who waited was lost";
  listener.close();
  group.cancel();
  io.run();
}

TEST(Listener, WhoComesFirstToOneThatBeginsAtTheBoundIsNotLost) {
  asio::io_context io;
  MetricsRegistry registry;
  std::vector<UniqueFd> accepted;
  UniqueFd fd = listen_on_loopback();
  const Endpoint address = local_endpoint(fd.get());
  Listener listener(
      io.get_executor(), std::move(fd), {CapturePath::Explicit, 1, 0, 0}, registry.create(),
      [&](const ListenerTag&, UniqueFd client, const Endpoint&) { accepted.push_back(std::move(client)); });
  std::vector<Wire> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(Wire::connect(address));
  const BoundDescriptors bounds({.accepting = descriptor_after(0)});
  net::TaskGroup group(io.get_executor());
  group.spawn(listener.run());
  const auto after = [&](const auto& condition) {
    return eventually([&] {
      io.poll();
      return condition();
    });
  };
  EXPECT_TRUE(after([&] { return registry.snapshot().value(Counter::LimitDescriptors) >= 2; }));
  EXPECT_LE(accepted.size(), 1U) << "those behind it wait";
  set_descriptor_bounds({});
  EXPECT_TRUE(after([&] { return accepted.size() == 3; }));
  listener.close();
  group.cancel();
  io.run();
}

}  // namespace
}  // namespace tapdeck::server
