#include "daemon/app/session_walk.h"

#include <gmock/gmock.h>

#include "store/test_support.h"

namespace tapdeck::app {
namespace {

TEST(SessionWalkTest, PagesAreReadToTheLastTheOldestFirst) {
  const TestDirectory directory;
  const auto store = store::open_store(directory.path());
  store::Recorder recorder(*store, "s"), other(*store, "other");
  std::vector<uint64_t> expected, seen;
  for (int i = 0; i < 1001; ++i) expected.push_back(recorder.record("/" + std::to_string(i), "x"));
  other.record("/other", "x");
  ASSERT_TRUE(each_recording(*store, "s", [&](const auto& recording) { seen.push_back(recording.id); }));
  EXPECT_EQ(seen, expected);
  EXPECT_FALSE(each_recording(*store, "none", [](const auto&) { ADD_FAILURE() << "there is no such session"; }));
}

TEST(SessionWalkTest, WhatIsRecordedOrDeletedIsADifference) {
  const TestDirectory directory;
  const auto store = store::open_store(directory.path());
  store::Recorder recorder(*store, "s");
  const uint64_t id = recorder.record("/a", "x");
  const auto before = store->session("s");
  EXPECT_TRUE(holds_the_same(*before, *store->session("s")));
  recorder.record("/b", "x");
  const auto after = store->session("s");
  EXPECT_FALSE(holds_the_same(*before, *after));
  ASSERT_TRUE(store->delete_recording(id));
  EXPECT_FALSE(holds_the_same(*after, *store->session("s")));
}

}  // namespace
}  // namespace tapdeck::app
