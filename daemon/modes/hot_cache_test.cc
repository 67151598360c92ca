#include "daemon/modes/hot_cache.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

const CursorKey kSome{.tape = 1, .target = 1, .key = {}};
const CursorKey kOther{.tape = 2, .target = 1, .key = {}};

HotEntry entry_of(std::vector<uint64_t> ids, uint64_t take = 0, size_t usable = 0) {
  HotEntry entry;
  entry.ids = std::move(ids);
  entry.take = take;
  entry.usable = usable;
  return entry;
}

TEST(HotCache, ForgetsEverythingWithANewGeneration) {
  Cursors cursors;
  HotCache cache(1 << 20);
  EXPECT_EQ(cache.find(kSome, 1), nullptr);
  cache.keep(kSome, 1, entry_of({4, 5}), cursors);
  ASSERT_NE(cache.find(kSome, 1), nullptr);
  EXPECT_EQ(cache.find(kSome, 1)->ids.size(), 2U);
  EXPECT_EQ(cache.find(kSome, 2), nullptr);
  EXPECT_EQ(cache.find(kSome, 1), nullptr);
}

TEST(HotCache, WhatWasReadBeforeTheGenerationMovedIsNotOfTheNewOne) {
  Cursors cursors;
  HotCache cache(1 << 20);
  ASSERT_EQ(cache.find(kSome, 1), nullptr);  // and the read begins
  EXPECT_EQ(cache.keep(kSome, 1, entry_of({4, 5}), cursors).ids.size(), 2U) << "the store moved, and nobody knows yet";
  EXPECT_EQ(cache.find(kSome, 2), nullptr);

  cache.keep(kOther, 2, entry_of({7}), cursors);  // somebody else knows already
  const HotEntry& late = cache.keep(kSome, 1, entry_of({4, 5}), cursors);
  EXPECT_EQ(late.ids.size(), 2U) << "for who read it";
  EXPECT_EQ(late.cursor, cursors.get(kSome));
  EXPECT_EQ(cache.find(kSome, 2), nullptr);
  ASSERT_NE(cache.find(kOther, 2), nullptr) << "what is of now stays";

  cache.keep(kSome, 2, entry_of({5}), cursors);
  cache.keep(kSome, 1, entry_of({4, 5}), cursors);
  EXPECT_EQ(cache.find(kSome, 2)->ids, (std::vector<uint64_t>{5})) << "nor does it renew that";
}

TEST(HotCache, AnEntryIsRenewedByWhatWasReadLaterAndKeepsItsCursorAndItems) {
  Cursors cursors;
  HotCache cache(1 << 20);
  HotEntry& entry = cache.keep(kSome, 1, entry_of({4, 5}, 1, 2), cursors);
  cache.add_item(entry, 4, std::make_shared<ReplayItem>());
  cache.keep(kSome, 1, entry_of({4}, 1, 1), cursors);
  EXPECT_EQ(entry.ids.size(), 2U) << "a read that was overtaken";
  cache.keep(kSome, 1, entry_of({4, 5, 3}, 1, 2), cursors);
  EXPECT_EQ(entry.ids.size(), 3U) << "an unfinished one, which comes last";
  cache.keep(kSome, 1, entry_of({9}, 2, 1), cursors);
  EXPECT_EQ(entry.ids, (std::vector<uint64_t>{9}));
  EXPECT_EQ(entry.usable, 1U);
  EXPECT_EQ(entry.items.size(), 1U);
  EXPECT_EQ(entry.cursor, cursors.get(kSome));
}

TEST(HotCache, ForgetsAKeyOfWhichARecordingIsGone) {
  Cursors cursors;
  HotCache cache(1 << 20);
  cache.keep(kSome, 1, entry_of({4, 5}), cursors);
  cache.keep(kOther, 1, entry_of({7}), cursors);
  cache.forget(kSome);
  EXPECT_EQ(cache.find(kSome, 1), nullptr);
  EXPECT_NE(cache.find(kOther, 1), nullptr);
  EXPECT_EQ(cache.keep(kSome, 1, entry_of({5}), cursors).ids.size(), 1U) << "fewer than before";
}

TEST(HotCache, ClientsOfATargetShareWhatWasReadAndItsBytes) {
  Cursors cursors;
  HotCache cache(30000);
  const auto item = std::make_shared<ReplayItem>();
  item->body.assign(20000, 'x');
  for (uint8_t client = 1; client <= 4; ++client) {
    CursorKey key = kSome;
    key.client.address[15] = client;
    HotEntry& entry = cache.keep(key, 1, entry_of({4}), cursors);
    EXPECT_EQ(cache.shared_item(4) != nullptr, client > 1);
    cache.share_item(entry, 4, item);
    EXPECT_NE(cache.find(key, 1), nullptr) << "within the bound";
  }
  EXPECT_EQ(cache.find(kSome, 2), nullptr);
  EXPECT_EQ(cache.shared_item(4), nullptr) << "of a generation that is over";
}

TEST(HotCache, StartsAfreshBeyondItsBound) {
  Cursors cursors;
  HotCache cache(4096);
  HotEntry& entry = cache.keep(kSome, 0, entry_of({1}), cursors);
  auto item = std::make_shared<ReplayItem>();
  item->body.assign(8192, 'x');
  cache.add_item(entry, 1, item);
  EXPECT_EQ(cache.find(kSome, 0), nullptr);
  cache.keep(kSome, 0, entry_of({1}), cursors);
  EXPECT_NE(cache.find(kSome, 0), nullptr);
}

}  // namespace
}  // namespace tapdeck::modes
