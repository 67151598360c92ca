// Takes of those who go on after a restart, and of those who begin while a session is replaced. Sessions themselves:
// exchange_store_test.cc.
#include <atomic>
#include <thread>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

using Holder = ExchangeStore::Holder;
const Holder kWeb{"container:web", "record"};
const Holder kMail{"container:mail", "record"};

TEST(Takes, EachHolderGoesOnWithItsOwnAfterARestart) {
  const TempDirectory dir;
  {
    auto store = open_store(dir.path());
    EXPECT_EQ(store->open_take_of(kWeb, "s", Append::Yes)->number, 1U) << "it had none";
    EXPECT_EQ(store->open_take_of(kMail, "s", Append::Yes)->number, 2U);
  }
  auto store = open_store(dir.path());
  const auto web = store->open_take_of(kWeb, "s", Append::Yes);
  EXPECT_EQ(web->number, 1U);
  EXPECT_EQ(web->session, "s");
  EXPECT_EQ(web->session_number, store->session("s")->number);
  EXPECT_EQ(store->open_take_of(kMail, "s", Append::Yes)->number, 2U);
  EXPECT_EQ(store->session("s")->takes, 2U);
}

TEST(Takes, AskedForANewOneAHolderGoesOnWithThat) {
  const TempDirectory dir;
  auto store = open_store(dir.path());
  ASSERT_TRUE(store->open_take_of(kWeb, "s", Append::Yes));
  EXPECT_EQ(store->open_take_of(kWeb, "s", Append::No)->number, 2U);
  EXPECT_EQ(store->open_take("s", Append::No)->number, 3U);
  EXPECT_EQ(store->open_take_of(kWeb, "s", Append::Yes)->number, 2U);
}

TEST(Takes, AnotherModeOrSessionIsANewOne) {
  const TempDirectory dir;
  auto store = open_store(dir.path());
  ASSERT_TRUE(store->open_take_of(kWeb, "s", Append::Yes));
  EXPECT_EQ(store->open_take_of({kWeb.name, "hybrid"}, "s", Append::Yes)->number, 2U);
  EXPECT_EQ(store->open_take_of({kWeb.name, "hybrid"}, "other", Append::Yes)->number, 1U);
  EXPECT_EQ(store->open_take_of({kWeb.name, "hybrid"}, "s", Append::Yes)->number, 3U);
}

TEST(Takes, OfADeletedSessionNoneIsContinued) {
  const TempDirectory dir;
  {
    auto store = open_store(dir.path());
    ASSERT_TRUE(store->open_take_of(kWeb, "s", Append::Yes));
    ASSERT_TRUE(store->delete_session("s"));
  }
  auto store = open_store(dir.path());  // numbers of sessions are used again
  ASSERT_TRUE(store->open_take("s", Append::No));
  EXPECT_EQ(store->open_take_of(kWeb, "s", Append::Yes)->number, 2U);
}

TEST(Takes, OverwritingLosesNeitherSideToWhoOpensATakeMeanwhile) {
  const TempDirectory dir, other;
  const std::string file = other.path() + "/s.tapdeck";
  auto store = open_store(dir.path());
  {
    Recorder recorder(*store, "s");
    for (int i = 0; i < 2000; ++i) ignore(recorder.record("/imported/" + std::to_string(i), "x"), "");
    ASSERT_TRUE(store->export_session("s", file));
  }
  std::atomic<bool> over{false};
  std::thread opener([&] {
    while (!over) ASSERT_TRUE(store->open_take("s", Append::Yes));
  });
  const auto imported = store->import_session(file, {}, Overwrite::Yes);
  over = true;
  opener.join();
  ASSERT_TRUE(imported) << imported.error().message();
  EXPECT_EQ(store->session("s")->recordings, 2000U);
  EXPECT_EQ(store->list_sessions()->size(), 1U);
}

}  // namespace
}  // namespace tapdeck::store
