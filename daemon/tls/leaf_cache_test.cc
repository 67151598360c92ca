#include "daemon/tls/leaf_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using testing::must;

struct LeafCacheTest : ::testing::Test {
  std::unique_ptr<CertificateAuthority> ca = must(CertificateAuthority::create_in_memory({}));
  std::unique_ptr<CertificateAuthority> untrusted = must(CertificateAuthority::create_untrusted());
};

TEST_F(LeafCacheTest, GivesTheSameLeafForTheSameSpecOnly) {
  LeafCache cache(*ca, *untrusted);
  const auto first = must(cache.get(leaf_for("a.test")));
  EXPECT_EQ(must(cache.get(leaf_for("a.test"))), first);
  EXPECT_NE(must(cache.get(LeafSpec{{"a.test", "b.test"}, {}, LeafShape::Good, {}})), first);
  EXPECT_NE(must(cache.get(LeafSpec{{"a.test"}, {}, LeafShape::Expired, {}})), first);
  EXPECT_NE(must(cache.get(LeafSpec{{"a.test"}, {"192.0.2.1"}, LeafShape::Good, {}})), first);
  const LeafCache::Stats stats = cache.stats();
  EXPECT_EQ(stats.hits, 1U);
  EXPECT_EQ(stats.misses, 4U);
  EXPECT_EQ(stats.entries, 4U);
  EXPECT_GT(stats.mint_time.count(), 0);
}

TEST_F(LeafCacheTest, StaysWithinItsBoundAndKeepsWhatIsUsed) {
  LeafCacheOptions options;
  options.capacity = 32;
  LeafCache cache(*ca, *untrusted, options);
  const auto kept = must(cache.get(leaf_for("kept.test")));
  for (int i = 0; i < 200; ++i) {
    must(cache.get(leaf_for("host" + std::to_string(i) + ".test")));
    ASSERT_EQ(must(cache.get(leaf_for("kept.test"))), kept) << i;
    ASSERT_LE(cache.stats().entries, 32U);
  }
  EXPECT_EQ(cache.stats().evictions + cache.stats().entries, 201U);
}

TEST_F(LeafCacheTest, MakesALeafAnewBeforeItExpires) {
  Time now = system_now();
  LeafCacheOptions options;
  options.clock = [&now] { return now; };
  LeafCache cache(*ca, *untrusted, options);
  const auto first = must(cache.get(leaf_for("a.test")));
  now += std::chrono::days(4);  // of five
  EXPECT_EQ(must(cache.get(leaf_for("a.test"))), first);
  now += std::chrono::days(1) - std::chrono::hours(1);
  const auto second = must(cache.get(leaf_for("a.test")));
  EXPECT_NE(second, first);
  EXPECT_GT(second->not_after(), first->not_after());
  EXPECT_EQ(second->scope(), first->scope());
  EXPECT_EQ(cache.stats().entries, 1U);
}

TEST_F(LeafCacheTest, MakesALeafAnewThatAClockAheadHasMade) {
  Time now = system_now() + std::chrono::days(3);
  LeafCacheOptions options;
  options.clock = [&now] { return now; };
  LeafCache cache(*ca, *untrusted, options);
  const LeafSpec expired{{"a.test"}, {}, LeafShape::Expired, {}};
  const LeafSpec not_yet{{"a.test"}, {}, LeafShape::NotYetValid, {}};
  const auto good_ahead = must(cache.get(leaf_for("a.test")));
  const auto expired_ahead = must(cache.get(expired));
  const auto not_yet_ahead = must(cache.get(not_yet));
  now -= std::chrono::days(3);
  const auto good = must(cache.get(leaf_for("a.test")));
  EXPECT_NE(good, good_ahead);
  EXPECT_NE(must(cache.get(expired)), expired_ahead);
  EXPECT_EQ(must(cache.get(not_yet)), not_yet_ahead);
  EXPECT_EQ(must(cache.get(leaf_for("a.test"))), good);
}

TEST_F(LeafCacheTest, ReportsANameItCannotMint) {
  LeafCache cache(*ca, *untrusted);
  EXPECT_FALSE(cache.get(leaf_for("a b")));
  EXPECT_EQ(cache.stats().entries, 0U);
  // Nor does one pass for two others.
  must(cache.get(LeafSpec{{"a.test", "b.test"}, {}, LeafShape::Good, {}}));
  for (const std::string name : {"a.test\nb.test", "a.testd6:b.test"}) EXPECT_FALSE(cache.get(leaf_for(name)));
}

TEST_F(LeafCacheTest, ThreadsThatMissAtOnceShareOneLeaf) {
  LeafCacheOptions options;
  options.capacity = 64;
  LeafCache cache(*ca, *untrusted, options);
  std::atomic<int> different = 0;
  const auto shared = must(cache.get(leaf_for("shared.test")));
  std::shared_ptr<const ServerCredential> seen[4];
  {
    std::vector<std::jthread> threads;
    for (auto& mine : seen) {
      threads.emplace_back([&] {
        mine = must(cache.get(leaf_for("raced.test")));
        for (int i = 0; i < 100; ++i) {
          must(cache.get(leaf_for("host" + std::to_string(i % 20) + ".test")));
          if (must(cache.get(leaf_for("shared.test"))) != shared) ++different;
        }
      });
    }
  }
  EXPECT_EQ(different, 0);
  for (const auto& mine : seen) EXPECT_EQ(mine, seen[0]);
  EXPECT_EQ(cache.stats().entries, 22U);
}

}  // namespace
}  // namespace tapdeck::tls
