#include "daemon/upstream/pool.h"

#include "daemon/upstream/pool_rig.h"

namespace tapdeck::upstream {
namespace {

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

TEST(Pool, AFirstRequestThatMayNotBeSentTwiceGetsNoConnectionThatOthersUsed) {
  PoolRig rig;
  const Pool::Client owner(*rig.pool), stranger(*rig.pool);
  const auto ask = [&](const Pool::Client& client, Sends sends) {
    Asker asker{client.id()};
    asker.sends = sends;
    return rig.pool->try_acquire(rig.key, asker);
  };
  auto lane = rig.acquire(rig.key, Fresh::No, {owner.id()});
  const Connection* const made_for_owner = lane->whole();
  rig.pool->give_back(std::move(lane));
  rig.pool->give_back(rig.acquire(rig.key, Fresh::Yes, {stranger.id()}));
  lane = ask(owner, Sends::Once);
  ASSERT_NE(lane, nullptr) << "dialled for it, and new";
  EXPECT_EQ(lane->whole(), made_for_owner) << "though another is younger";
  rig.pool->give_back(std::move(lane));
  const Pool::Client late(*rig.pool);
  EXPECT_EQ(ask(late, Sends::Once), nullptr);
  lane = ask(late, Sends::Repeatable);
  ASSERT_NE(lane, nullptr);
  rig.pool->give_back(std::move(lane));
  EXPECT_NE(ask(late, Sends::Once), nullptr) << "no longer its first";
}

}  // namespace
}  // namespace tapdeck::upstream
