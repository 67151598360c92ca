// Dials of a pool that fail or are given up, and who is told.
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include "daemon/upstream/pool_rig.h"

namespace tapdeck::upstream {
namespace {

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

// A client whose dial another waits for, and that leaves.
struct Leaving {
  explicit Leaving(PoolRig& pool_rig) : rig(pool_rig) {
    asio::co_spawn(rig.io, into(owner), asio::bind_cancellation_slot(leave.slot(), asio::detached));
    asio::co_spawn(rig.io, into(waiter), asio::detached);
    rig.io.poll();
  }
  net::Task<> into(std::optional<Acquired>& out) {
    const Asker nobody;
    auto acquired = co_await rig.pool->acquire(rig.key, Fresh::No, nobody);
    out = std::move(acquired);
  }
  void run_until(const std::optional<Acquired>& done) {
    rig.io.restart();
    while (!done && rig.io.run_one_for(10s) > 0) {
    }
    ASSERT_TRUE(done);
  }
  void go() {
    leave.emit(asio::cancellation_type::all);
    run_until(owner);
    EXPECT_EQ(owner->error.code, Code::Cancelled);
    rig.io.poll();
    EXPECT_FALSE(waiter) << waiter->error.detail;
  }

  PoolRig& rig;
  asio::cancellation_signal leave;
  std::optional<Acquired> owner, waiter;
};

TEST(Pool, ACancelledConnectIsNobodyElsesFailure) {
  PoolRig rig;
  const auto queued = fill(rig.listener, rig.key.address);
  rig.key.alpn = std::string(kPriorKnowledge);
  Leaving leaving(rig);
  leaving.go();
  rig.listener.reset();  // the next SYN is refused
  leaving.run_until(leaving.waiter);
  EXPECT_EQ(leaving.waiter->error.code, Code::Refused);
}

TEST(Pool, ACancelledHandshakeIsNobodyElsesFailureAndNoneOfTheOrigins) {
  PoolRig rig;
  rig.key.security = Security::Tls;
  rig.key.alpn = "h2,http/1.1";
  Leaving leaving(rig);
  const UniqueFd mute(::accept4(rig.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  while (leaving.rig.count(Counter::UpstreamDialed) == 0) rig.io.run_one_for(10s);  // it shakes hands from here on
  leaving.go();
  UniqueFd next(::accept4(rig.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  next.reset();
  leaving.run_until(leaving.waiter);
  EXPECT_EQ(leaving.waiter->error.code, Code::Tls);
  EXPECT_EQ(rig.count(Counter::TlsUpError), 1U);
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

TEST(Pool, AFailedDialIsToldToAllWhoseRequestsHadBegunAndToNobodyElse) {
  PoolRig rig;
  const Pool::Client client(*rig.pool);
  const auto ask = [&](exchange::Clock::time_point since) {
    return rig.acquire(rig.key, Fresh::No, {.client = client.id(), .since = since}) == nullptr;
  };
  const auto began = exchange::Clock::now();
  rig.pool->expect_failure(rig.key, client.id(), {Code::Timeout, "no answer", Origin::Upstream, Retry::No, 0});
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(ask(began));
    EXPECT_EQ(rig.error.detail, "no answer");
  }
  EXPECT_EQ(rig.count(Counter::UpstreamDialed), 0U);
  EXPECT_FALSE(ask(exchange::Clock::now())) << "one that comes later";
  EXPECT_FALSE(ask(began)) << "there has been a connection since";
}

TEST(Pool, AFailureThatIsKeptAgainIsNoYounger) {
  PoolRig rig;
  const Pool::Client client(*rig.pool);
  const auto failed_at = exchange::Clock::now() - 1ms;
  std::optional<Acquired> told;
  const auto ask = [&]() -> net::Task<> {
    const Asker asker{client.id()};
    auto acquired = co_await rig.pool->acquire(rig.key, Fresh::Yes, asker);
    told = std::move(acquired);
  };
  rig.pool->expect_failure(rig.key, client.id(), {Code::Timeout, "old", Origin::Upstream, Retry::No, 0}, failed_at);
  asio::co_spawn(rig.io, ask(), asio::detached);
  rig.io.run();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->error.detail, "old");
  EXPECT_EQ(told->failed_at, failed_at);
  rig.pool->expect_failure(rig.key, client.id(), told->error, *told->failed_at - 2s);
  EXPECT_NE(rig.acquire(rig.key, Fresh::No, {client.id()}), nullptr) << "two seconds after the dial it is over";
}

TEST(Pool, AnOriginThatRequiresHttp11IsAskedByAnotherKeyForAWhile) {
  PoolRig rig({.verify_ttl = 60s});
  rig.key.alpn = std::string(kPriorKnowledge);
  EXPECT_EQ(rig.pool->as_required(rig.key), rig.key);
  const Key required = rig.pool->require_h1(rig.key);
  EXPECT_EQ(required.alpn, "");
  EXPECT_EQ(rig.pool->as_required(rig.key), required);
  EXPECT_EQ(rig.pool->as_required(required), required);
  Key secure = rig.key;
  secure.security = Security::Tls;
  secure.alpn = "h2";
  EXPECT_EQ(rig.pool->as_required(secure), secure) << "another one";
  EXPECT_EQ(rig.pool->require_h1(secure).alpn, "http/1.1");
  PoolRig forgetful({.verify_ttl = 0ms});
  forgetful.key.alpn = "h2c";
  EXPECT_FALSE(forgetful.pool->require_h1(forgetful.key).may_be_h2());
  EXPECT_EQ(forgetful.pool->as_required(forgetful.key), forgetful.key);
}

}  // namespace
}  // namespace tapdeck::upstream
