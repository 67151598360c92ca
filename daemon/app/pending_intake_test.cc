#include "daemon/app/pending_intake.h"

#include <gtest/gtest.h>

#include "store/test_support.h"

namespace tapdeck::app {
namespace {

class Intake : public testing::Test {
 protected:
  Intake() { options_.path = dir_.path(); }
  // What a run beside the owner does.
  void record_beside() {
    auto beside = store::ExchangeStore::open_pending(options_);
    ASSERT_TRUE(beside) << beside.error().message();
    store::Recorder recorder(**beside, "s");
    ASSERT_GT(recorder.record("/x", "beside"), 0U);
  }
  TestDirectory dir_;
  store::StoreOptions options_;
};

TEST_F(Intake, TheOwnerTakesInWhatEndedWhileItLives) {
  auto owner = store::open_store(options_);
  const PendingIntake intake(*owner);
  record_beside();
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (is_anything_pending(options_.path) && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
  EXPECT_FALSE(is_anything_pending(options_.path));
  EXPECT_EQ(owner->session("s")->recordings, 1U);
}

TEST_F(Intake, WithoutAnOwnerTheNextOneDoes) {
  auto owner = store::open_store(options_);
  record_beside();
  take_in_pending(options_.path);
  EXPECT_TRUE(is_anything_pending(options_.path)) << "it is the owner's to do";
  owner.reset();
  take_in_pending(options_.path);
  EXPECT_FALSE(is_anything_pending(options_.path));
  EXPECT_EQ(store::open_store(options_)->session("s")->recordings, 1U);
}

}  // namespace
}  // namespace tapdeck::app
