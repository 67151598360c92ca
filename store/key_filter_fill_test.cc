// Filters filled from a real store, beside writers and deletions.
#include <gtest/gtest.h>

#include <thread>

#include "daemon/base/no_threads.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

// Waits for the background thread; a miss per round, as a hybrid session would go on missing.
const KeyFilter& filled(ExchangeStore& store, const Recorder& recorder, const KeyFilter& filter) {
  while (filter.state() != KeyFilter::State::Ready) {
    EXPECT_TRUE(store.lookup("s", recorder.key("/never"))->empty());
    std::this_thread::yield();
  }
  return filter;
}

TEST(KeyFilterFill, AKeyFilterKnowsWhatWasStoredBeforeWhileAndAfterItWasFilled) {
  const TestDirectory dir;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    for (int i = 0; i < 20000; ++i) recorder.record("/before/" + std::to_string(i), "x");
  }
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const auto filter = store->key_filter(recorder.take().session_number);
  EXPECT_TRUE(filter->may_hold(recorder.key("/never"))) << "nobody has missed yet";
  EXPECT_TRUE(store->lookup("s", recorder.key("/never"))->empty());
  for (int i = 0; i < 200; ++i) recorder.record("/while/" + std::to_string(i), "x");
  filled(*store, recorder, *filter);
  for (int i = 0; i < 200; ++i) recorder.record("/after/" + std::to_string(i), "x");
  for (int i = 0; i < 200; ++i) {
    for (const std::string when : {"/before/", "/while/", "/after/"})
      ASSERT_TRUE(filter->may_hold(recorder.key(when + std::to_string(i)))) << when << i;
  }
  EXPECT_FALSE(filter->may_hold(recorder.key("/never")));
}

TEST(KeyFilterFill, AKeyFilterOfADeletedSessionSendsEverybodyToTheStore) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const auto filter = store->key_filter(recorder.take().session_number);
  filled(*store, recorder, *filter);
  EXPECT_FALSE(filter->may_hold(recorder.key("/x")));
  ASSERT_TRUE(store->delete_session("s"));
  Recorder again(*store, "s");
  again.record("/x", "1");
  EXPECT_TRUE(filter->may_hold(recorder.key("/x"))) << "the name is used again, the filter is not";
}

TEST(KeyFilterFill, AReaderOfAnotherProcessesStoreHasNoKeyFilter) {
  const TestDirectory dir;
  auto owner = open_store(dir.path());
  Recorder recorder(*owner, "s");
  auto reader = open_store(dir.path(), Access::ReadOnly);
  EXPECT_EQ(reader->key_filter(recorder.take().session_number), nullptr);
}

TEST(KeyFilterFill, WithoutAThreadMissesAskTheStoreAndTheFilterIsFilledLater) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  recorder.record("/there", "x");
  const auto filter = store->key_filter(recorder.take().session_number);
  {
    const NoThreads none;
    EXPECT_TRUE(store->lookup("s", recorder.key("/never"))->empty());
    EXPECT_EQ(filter->state(), KeyFilter::State::Idle);
  }
  filled(*store, recorder, *filter);
  EXPECT_TRUE(filter->may_hold(recorder.key("/there")));
  EXPECT_FALSE(filter->may_hold(recorder.key("/never")));
}

}  // namespace
}  // namespace tapdeck::store
