#include "daemon/server/listener.h"

#include <gtest/gtest.h>

#include <vector>

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

}  // namespace
}  // namespace tapdeck::server
