// A pool and a listener on loopback, for tests.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <list>
#include <memory>
#include <optional>

#include "daemon/tls/test_support.h"
#include "daemon/upstream/pool.h"

namespace tapdeck::upstream {

using namespace std::chrono_literals;

class PoolSockets final : public SocketSource {
 public:
  Result<UniqueFd> upstream_socket(uint64_t, int family) override {
    return UniqueFd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  }
};

// A pool, and a listener whose accepted ends the test holds.
struct PoolRig {
  explicit PoolRig(PoolOptions options = {}) : metrics(registry.create()) {
    listener = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener.get(), generic, size), 0);
    EXPECT_EQ(::listen(listener.get(), 8), 0);
    EXPECT_EQ(::getsockname(listener.get(), generic, &size), 0);
    key.address = Endpoint::from_sockaddr(generic);
    context.executor = io.get_executor();
    context.sockets = &sockets;
    context.metrics = &metrics;
    context.trust = trust.get();
    pool.emplace(context, options);
  }
  std::unique_ptr<Lane> acquire(Key wanted, Fresh fresh = Fresh::No, Asker asker = {}) {
    Acquired dialed;
    auto body = [&]() -> net::Task<> {
      auto result = co_await pool->acquire(wanted, fresh, asker);
      dialed = std::move(result);
    };
    asio::co_spawn(io, body(), asio::detached);
    io.restart();
    io.run_for(10s);
    if (dialed.lane != nullptr && !dialed.lane->reused) {
      accepted.emplace_back(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
    error = dialed.error;
    return std::move(dialed.lane);
  }
  uint64_t count(Counter counter) { return registry.snapshot().value(counter); }

  asio::io_context io{1};
  MetricsRegistry registry;
  Metrics& metrics;
  PoolSockets sockets;
  std::unique_ptr<tls::UpstreamTrust> trust =
      tls::testing::must(tls::UpstreamTrust::create(tls::SystemRoots::Ignore, {}));
  UniqueFd listener;
  std::list<UniqueFd> accepted;
  Key key;
  DialContext context;
  Error error;
  std::optional<Pool> pool;
};

}  // namespace tapdeck::upstream
