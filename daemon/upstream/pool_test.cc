#include "daemon/upstream/pool.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <list>

namespace tapdeck::upstream {
namespace {

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
  UniqueFd listener;
  std::list<UniqueFd> accepted;
  Key key;
  DialContext context;
  Error error;
  std::optional<Pool> pool;
};

TEST(Pool, AGivenBackConnectionServesTheSameKeyAgainAndNoOther) {
  PoolRig rig;
  auto first = rig.acquire(rig.key);
  ASSERT_NE(first, nullptr);
  EXPECT_FALSE(first->reused);
  Lane* const identity = first.get();
  rig.pool->give_back(std::move(first));
  EXPECT_EQ(rig.pool->idle(), 1U);
  Key other = rig.key;
  other.netns_cookie = 7;
  auto elsewhere = rig.acquire(other);
  EXPECT_NE(elsewhere.get(), identity) << "never across network namespaces";
  auto again = rig.acquire(rig.key);
  EXPECT_EQ(again.get(), identity);
  EXPECT_TRUE(again->reused);
  EXPECT_EQ(rig.pool->idle(), 0U);
  EXPECT_EQ(rig.count(Counter::UpstreamDialed), 2U);
  EXPECT_EQ(rig.count(Counter::UpstreamReused), 1U);
}

TEST(Pool, FreshNeverReuses) {
  PoolRig rig;
  rig.pool->give_back(rig.acquire(rig.key));
  const auto fresh = rig.acquire(rig.key, Fresh::Yes);
  EXPECT_FALSE(fresh->reused);
  EXPECT_EQ(rig.pool->idle(), 1U);
}

TEST(Pool, AConnectionTheOriginClosedOrSpokeOnIsNotReused) {
  PoolRig rig;
  rig.pool->give_back(rig.acquire(rig.key));
  rig.accepted.back().reset();
  auto after_close = rig.acquire(rig.key);
  EXPECT_FALSE(after_close->reused);
  rig.pool->give_back(std::move(after_close));
  EXPECT_EQ(::send(rig.accepted.back().get(), "HTTP/1.1 408 ", 13, 0), 13);
  const auto after_words = rig.acquire(rig.key);
  EXPECT_FALSE(after_words->reused) << "unasked bytes would answer the next request";
  EXPECT_EQ(rig.pool->idle(), 0U);
}

TEST(Pool, KeepsNoMoreThanItsBound) {
  PoolOptions options;
  options.max_idle = 2;
  PoolRig rig(options);
  std::list<std::unique_ptr<Lane>> open;
  for (int i = 0; i < 4; ++i) open.push_back(rig.acquire(rig.key));
  for (auto& connection : open) rig.pool->give_back(std::move(connection));
  EXPECT_EQ(rig.pool->idle(), 2U);
  EXPECT_EQ(rig.registry.snapshot().value(Gauge::UpstreamIdle), 2);
  rig.pool->clear();
  EXPECT_EQ(rig.registry.snapshot().value(Gauge::UpstreamIdle), 0);
}

TEST(Pool, SweepClosesWhatWasIdleTooLong) {
  PoolOptions options;
  options.max_idle_time = 0ms;
  PoolRig rig(options);
  rig.pool->give_back(rig.acquire(rig.key));
  EXPECT_EQ(rig.pool->idle(), 1U);
  rig.pool->sweep();
  EXPECT_EQ(rig.pool->idle(), 0U);
}

TEST(Pool, SweepAsksTheSocketsOnlyOnceInAWhile) {
  PoolOptions options;
  options.probe_every = 1h;
  PoolRig rare(options);
  rare.pool->sweep();
  rare.pool->give_back(rare.acquire(rare.key));
  rare.accepted.back().reset();
  rare.pool->sweep();
  EXPECT_EQ(rare.pool->idle(), 1U);
  EXPECT_EQ(rare.pool->try_acquire(rare.key), nullptr) << "whoever takes it asks";
  options.probe_every = 0ms;
  PoolRig eager(options);
  eager.pool->sweep();
  eager.pool->give_back(eager.acquire(eager.key));
  eager.accepted.back().reset();
  eager.pool->sweep();
  EXPECT_EQ(eager.pool->idle(), 0U);
}

TEST(Pool, AConnectionInsideAnExchangeIsClosedInsteadOfKept) {
  PoolRig rig;
  auto connection = rig.acquire(rig.key);
  http::RequestHead head;
  head.method = "GET";
  head.target = "/";
  head.headers.add("Host", "x");
  ASSERT_TRUE(connection->send_request(head, http::EndStream::Yes));
  rig.pool->give_back(std::move(connection));
  EXPECT_EQ(rig.pool->idle(), 0U);
}

TEST(Pool, ARefusedDialNamesTheAddress) {
  PoolRig rig;
  rig.listener.reset();
  EXPECT_EQ(rig.acquire(rig.key), nullptr);
  EXPECT_EQ(rig.error.code, Code::Refused);
  EXPECT_EQ(rig.error.origin, Origin::Upstream);
  EXPECT_NE(rig.error.detail.find(rig.key.address.to_string()), std::string::npos);
}

// A listener that lets nobody in: its queue is full, so further SYNs are dropped.
std::list<UniqueFd> fill(const UniqueFd& listener, const Endpoint& address) {
  EXPECT_EQ(::listen(listener.get(), 0), 0);
  std::list<UniqueFd> queued;
  sockaddr_storage raw{};
  const socklen_t size = address.to_sockaddr(raw);
  for (int i = 0; i < 3; ++i) {
    queued.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ::connect(queued.back().get(), reinterpret_cast<const sockaddr*>(&raw), size);
  }
  return queued;
}

TEST(Pool, ACancelledDialIsNobodyElsesFailure) {
  PoolRig rig;
  const auto queued = fill(rig.listener, rig.key.address);
  rig.key.alpn = std::string(kPriorKnowledge);
  asio::cancellation_signal leave;
  const Asker nobody;
  std::optional<Acquired> owner, waiter;
  const auto into = [&](std::optional<Acquired>& out) -> net::Task<> {
    auto acquired = co_await rig.pool->acquire(rig.key, Fresh::No, nobody);
    out = std::move(acquired);
  };
  asio::co_spawn(rig.io, into(owner), asio::bind_cancellation_slot(leave.slot(), asio::detached));
  asio::co_spawn(rig.io, into(waiter), asio::detached);
  rig.io.poll();
  leave.emit(asio::cancellation_type::all);
  rig.io.restart();
  while (!owner && rig.io.run_one_for(10s) > 0) {
  }
  ASSERT_TRUE(owner);
  EXPECT_EQ(owner->error.code, Code::Cancelled);
  rig.io.poll();
  EXPECT_FALSE(waiter) << waiter->error.detail;
  rig.listener.reset();  // the next SYN is refused
  while (!waiter && rig.io.run_one_for(10s) > 0) {
  }
  ASSERT_TRUE(waiter);
  EXPECT_EQ(waiter->error.code, Code::Refused);
}

TEST(Pool, AFailedDialIsToldOnceToTheClientItWasMadeFor) {
  PoolRig rig;
  const Pool::Client client(*rig.pool);
  const Pool::Client other(*rig.pool);
  const Asker asker{client.id()};
  const Error failure{Code::Timeout, "no answer", Origin::Upstream, Retry::No, 0};
  for (const Fresh fresh : {Fresh::No, Fresh::Yes}) {
    rig.pool->expect_failure(rig.key, client.id(), failure);
    EXPECT_NE(rig.acquire(rig.key, fresh, {other.id()}), nullptr) << "made for somebody else";
    Key elsewhere = rig.key;
    elsewhere.netns_cookie = 7;
    EXPECT_NE(rig.acquire(elsewhere, fresh, asker), nullptr);
    const uint64_t dialed = rig.count(Counter::UpstreamDialed);
    EXPECT_EQ(rig.acquire(rig.key, fresh, asker), nullptr);
    EXPECT_EQ(rig.error.detail, "no answer");
    EXPECT_EQ(rig.count(Counter::UpstreamDialed), dialed);
    EXPECT_NE(rig.acquire(rig.key, fresh, asker), nullptr) << "once";
  }
}

TEST(Pool, AFailedDialIsForgottenWhenAConnectionComesOrItsClientLeaves) {
  PoolRig rig;
  std::optional<Pool::Client> client(std::in_place, *rig.pool);
  const ClientId id = client->id();
  const Error failure{Code::Timeout, "no answer", Origin::Upstream, Retry::No, 0};
  rig.pool->give_back(rig.acquire(rig.key));
  rig.pool->expect_failure(rig.key, id, failure);
  EXPECT_NE(rig.acquire(rig.key, Fresh::No, {id}), nullptr);
  EXPECT_NE(rig.acquire(rig.key, Fresh::No, {id}), nullptr) << "there is a connection, so it is no news any more";
  rig.pool->expect_failure(rig.key, id, failure);
  client.reset();
  EXPECT_NE(rig.acquire(rig.key, Fresh::No, {id}), nullptr);
}

TEST(Pool, OnlyFailuresOfTheOriginAreExpected) {
  PoolRig rig;
  const Pool::Client client(*rig.pool);
  rig.pool->expect_failure(rig.key, client.id(), {Code::Exhausted, "files", Origin::Internal, Retry::No, 0});
  EXPECT_NE(rig.acquire(rig.key, Fresh::No, {client.id()}), nullptr);
}

TEST(Pool, VerdictsCountOnlyForTheirTimeToLive) {
  PoolOptions options;
  PoolRig rig(options);
  EXPECT_EQ(rig.pool->recent(rig.key), nullptr);
  rig.pool->remember(rig.key, {"http/1.1", std::nullopt, false, {}, {}});
  ASSERT_NE(rig.pool->recent(rig.key), nullptr);
  EXPECT_EQ(rig.pool->recent(rig.key)->alpn, "http/1.1");
  options.verify_ttl = 0ms;
  PoolRig forgetful(options);
  forgetful.pool->remember(forgetful.key, {"http/1.1", std::nullopt, false, {}, {}});
  EXPECT_EQ(forgetful.pool->recent(forgetful.key), nullptr);
}

TEST(Pool, TargetsShareVerdictsButNoConnections) {
  PoolRig rig;
  Key one = rig.key, other = rig.key, reattached = rig.key;
  one.target = 1;
  other.target = 2;
  reattached.target = 1;
  reattached.tenant = 1;
  rig.pool->give_back(rig.acquire(one));
  EXPECT_FALSE(rig.acquire(other)->reused);
  EXPECT_FALSE(rig.acquire(reattached)->reused);
  EXPECT_TRUE(rig.acquire(one)->reused);
  rig.pool->remember(one, {"http/1.1", std::nullopt, false, {}, {}});
  EXPECT_NE(rig.pool->recent(other), nullptr);
  other.netns_cookie = 7;
  EXPECT_EQ(rig.pool->recent(other), nullptr);
}

TEST(Pool, ABoundConnectionWaitsForItsClientAloneAndGoesWithIt) {
  PoolRig rig;
  std::optional<Pool::Client> owner(*rig.pool);
  const Pool::Client stranger(*rig.pool);
  auto lane = rig.acquire(rig.key, Fresh::No, {owner->id(), Bound::Yes});
  Lane* const identity = lane.get();
  rig.pool->give_back(std::move(lane));
  EXPECT_EQ(rig.pool->idle(), 1U);
  EXPECT_EQ(rig.pool->try_acquire(rig.key, {stranger.id()}), nullptr);
  EXPECT_EQ(rig.pool->try_acquire(rig.key), nullptr);
  lane = rig.pool->try_acquire(rig.key, {owner->id()});
  EXPECT_EQ(lane.get(), identity) << "without credentials as well";
  rig.pool->give_back(std::move(lane));
  rig.pool->sweep();
  EXPECT_EQ(rig.pool->idle(), 1U);
  owner.reset();
  EXPECT_EQ(rig.pool->idle(), 0U);
  EXPECT_EQ(rig.registry.snapshot().value(Gauge::UpstreamIdle), 0);
}

TEST(Pool, WhatIsBoundAfterAnAnswerIsItsClientsFromThenOn) {
  PoolRig rig;
  const Pool::Client owner(*rig.pool), stranger(*rig.pool);
  rig.pool->give_back(rig.acquire(rig.key, Fresh::No, {stranger.id()}));
  auto lane = rig.acquire(rig.key, Fresh::No, {owner.id()});
  EXPECT_TRUE(lane->reused) << "until then they take turns";
  lane->bind();
  rig.pool->give_back(std::move(lane));
  EXPECT_EQ(rig.pool->try_acquire(rig.key, {stranger.id()}), nullptr);
  EXPECT_NE(rig.pool->try_acquire(rig.key, {owner.id()}), nullptr);
}

TEST(Pool, ABoundConnectionWhoseClientHasLeftIsClosedInsteadOfKept) {
  PoolRig rig;
  std::optional<Pool::Client> owner(*rig.pool);
  auto lane = rig.acquire(rig.key, Fresh::No, {owner->id(), Bound::Yes});
  owner.reset();
  rig.pool->give_back(std::move(lane));
  EXPECT_EQ(rig.pool->idle(), 0U);
}

TEST(Pool, AClientKeepsNoMoreThanItsShareOfBoundConnections) {
  PoolRig rig;
  const Pool::Client owner(*rig.pool);
  std::list<std::unique_ptr<Lane>> open;
  for (int i = 0; i < 33; ++i) open.push_back(rig.acquire(rig.key, Fresh::No, {owner.id(), Bound::Yes}));
  const Lane* const newest = open.back().get();
  for (auto& lane : open) rig.pool->give_back(std::move(lane));
  EXPECT_EQ(rig.pool->idle(), 32U);
  EXPECT_EQ(rig.registry.snapshot().value(Gauge::UpstreamIdle), 32);
  EXPECT_EQ(rig.pool->try_acquire(rig.key, {owner.id()}).get(), newest) << "the oldest goes";
}

TEST(Pool, BoundConnectionsCountTowardsItsBound) {
  PoolOptions options;
  options.max_idle = 2;
  PoolRig rig(options);
  const Pool::Client one(*rig.pool), two(*rig.pool), three(*rig.pool);
  rig.pool->give_back(rig.acquire(rig.key));
  rig.pool->give_back(rig.acquire(rig.key, Fresh::Yes, {one.id(), Bound::Yes}));
  rig.pool->give_back(rig.acquire(rig.key, Fresh::Yes, {two.id(), Bound::Yes}));
  EXPECT_EQ(rig.pool->idle(), 2U);
  EXPECT_EQ(rig.pool->try_acquire(rig.key), nullptr) << "one that is nobody's goes first";
  rig.pool->give_back(rig.acquire(rig.key, Fresh::Yes, {three.id(), Bound::Yes}));
  EXPECT_EQ(rig.pool->idle(), 2U);
  EXPECT_EQ(rig.registry.snapshot().value(Gauge::UpstreamIdle), 2);
  EXPECT_EQ(rig.pool->try_acquire(rig.key, {one.id()}), nullptr) << "then the oldest";
  EXPECT_NE(rig.pool->try_acquire(rig.key, {two.id()}), nullptr);
  EXPECT_NE(rig.pool->try_acquire(rig.key, {three.id()}), nullptr);
}

TEST(Pool, SweepClosesBoundConnectionsThatWereIdleTooLong) {
  PoolOptions options;
  options.max_idle_time = 0ms;
  PoolRig rig(options);
  const Pool::Client owner(*rig.pool);
  for (int i = 0; i < 2; ++i) rig.pool->give_back(rig.acquire(rig.key, Fresh::Yes, {owner.id(), Bound::Yes}));
  EXPECT_EQ(rig.pool->idle(), 2U);
  rig.pool->sweep();
  EXPECT_EQ(rig.pool->idle(), 0U);
  EXPECT_EQ(rig.pool->try_acquire(rig.key, {owner.id()}), nullptr);
}

TEST(Pool, AConnectionIsKeptLongOnlyWhileItsClientLives) {
  PoolOptions options;
  options.max_orphan_time = 0ms;
  PoolRig rig(options);
  std::optional<Pool::Client> owner(*rig.pool);
  rig.pool->give_back(rig.acquire(rig.key, Fresh::No, {owner->id()}));
  rig.pool->sweep();
  EXPECT_EQ(rig.pool->idle(), 1U);
  owner.reset();
  rig.pool->sweep();
  EXPECT_EQ(rig.pool->idle(), 0U);
}

TEST(Pool, AConnectionMadeForAClientIsNewToItUntilItHasServed) {
  PoolRig rig;
  const Pool::Client owner(*rig.pool), stranger(*rig.pool);
  rig.pool->give_back(rig.acquire(rig.key, Fresh::No, {owner.id()}));
  rig.pool->give_back(rig.acquire(rig.key, Fresh::Yes, {owner.id()}));
  EXPECT_FALSE(rig.pool->try_acquire(rig.key, {owner.id()})->reused);
  EXPECT_TRUE(rig.pool->try_acquire(rig.key, {stranger.id()})->reused);
  EXPECT_EQ(rig.count(Counter::UpstreamReused), 1U);
}

}  // namespace
}  // namespace tapdeck::upstream
