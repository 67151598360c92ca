// Takes of those who go on after a restart. Sessions themselves: exchange_store_test.cc.
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

using Holder = ExchangeStore::Holder;
const Holder kWeb{"container:web", "record"};
const Holder kMail{"container:mail", "record"};

TEST(Takes, EachHolderGoesOnWithItsOwnAfterARestart) {
  const TestDirectory dir;
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
  const TestDirectory dir;
  auto store = open_store(dir.path());
  ASSERT_TRUE(store->open_take_of(kWeb, "s", Append::Yes));
  EXPECT_EQ(store->open_take_of(kWeb, "s", Append::No)->number, 2U);
  EXPECT_EQ(store->open_take("s", Append::No)->number, 3U);
  EXPECT_EQ(store->open_take_of(kWeb, "s", Append::Yes)->number, 2U);
}

TEST(Takes, AnotherModeOrSessionIsANewOne) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  ASSERT_TRUE(store->open_take_of(kWeb, "s", Append::Yes));
  EXPECT_EQ(store->open_take_of({kWeb.name, "hybrid"}, "s", Append::Yes)->number, 2U);
  EXPECT_EQ(store->open_take_of({kWeb.name, "hybrid"}, "other", Append::Yes)->number, 1U);
  EXPECT_EQ(store->open_take_of({kWeb.name, "hybrid"}, "s", Append::Yes)->number, 3U);
}

TEST(Takes, OfADeletedSessionNoneIsContinued) {
  const TestDirectory dir;
  {
    auto store = open_store(dir.path());
    ASSERT_TRUE(store->open_take_of(kWeb, "s", Append::Yes));
    ASSERT_TRUE(store->delete_session("s"));
  }
  auto store = open_store(dir.path());  // numbers of sessions are used again
  ASSERT_TRUE(store->open_take("s", Append::No));
  EXPECT_EQ(store->open_take_of(kWeb, "s", Append::Yes)->number, 2U);
}

}  // namespace
}  // namespace tapdeck::store
