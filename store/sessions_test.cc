// Takes: of those who go on after a restart, and of those who record nothing; and what is said of a session that is not
// there. More of sessions: exchange_store_test.cc.
#include <gmock/gmock.h>

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

TEST(Takes, OfAProcessThatRecordsNothingNoSessionStays) {
  const TestDirectory dir;
  {
    auto store = open_store(dir.path());
    ASSERT_TRUE(store->open_take("ghost", Append::No));
  }
  const auto found = open_store(dir.path())->session("ghost");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::NotFound);
}

TEST(Takes, AnEmptyOneAtTheEndIsGivenAgain) {
  const TestDirectory dir;
  ignore(Recorder(*open_store(dir.path()), "s").record("/x", "one"), "");
  EXPECT_EQ(open_store(dir.path())->open_take("s", Append::No)->number, 2U);
  auto store = open_store(dir.path());
  EXPECT_EQ(store->session("s")->takes, 1U);
  EXPECT_EQ(store->open_take("s", Append::No)->number, 2U);
}

TEST(Takes, AppendExtendsTheNewestThatHasRecordings) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  EXPECT_EQ(store->open_take("s", Append::Yes)->number, 1U) << "there was none";
  ignore(Recorder(*store, "s", Append::Yes).record("/x", "one"), "");
  const uint64_t filled = store->session("s")->takes;
  ASSERT_TRUE(store->open_take_of(kWeb, "s", Append::No)) << "kept, and nothing is recorded into it";
  store.reset();
  store = open_store(dir.path());
  EXPECT_EQ(store->session("s")->takes, filled + 1);
  Recorder appended(*store, "s", Append::Yes);
  EXPECT_EQ(appended.take().number, filled);
  ignore(appended.record("/x", "two"), "");
  EXPECT_EQ(store->lookup("s", appended.key("/x"))->size(), 2U);
}

TEST(Takes, AppendExtendsTheNewestThoughAnOlderOneWasRecordedIntoLast) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder first(*store, "s");
  Recorder second(*store, "s");
  ignore(second.record("/x", "second"), "");
  ignore(first.record("/x", "first"), "");
  EXPECT_EQ(store->open_take("s", Append::Yes)->number, 2U);
}

TEST(Takes, AppendPassesOverOneWhoseRecordingsWereDeleted) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  ignore(Recorder(*store, "s").record("/x", "one"), "");
  ASSERT_TRUE(store->delete_recording(Recorder(*store, "s").record("/x", "two")));
  EXPECT_EQ(store->open_take("s", Append::Yes)->number, 1U);
}

TEST(UnknownSession, TheNearestIsNamed) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  ASSERT_TRUE(store->create_session("shop"));
  ASSERT_TRUE(store->create_session("Other"));
  for (const char* name : {"SHOP", "shopping", "my-shop", "shp", "sHpo", "sho"})
    EXPECT_THAT(store->session(name).error().detail, testing::HasSubstr("did you mean 'shop'?")) << name;
  EXPECT_THAT(store->session("oter").error().detail, testing::HasSubstr("did you mean 'Other'?"));
}

TEST(UnknownSession, WhereNoneIsNearThoseThereAreAreListed) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  EXPECT_THAT(store->session("default").error().detail, testing::EndsWith("; there is none yet"));
  ignore(Recorder(*store, "shop").record("/x", "1"), "");
  EXPECT_THAT(store->session("default").error().detail, testing::EndsWith("; there is 'shop'"));
  for (const char* name : {"a1", "b2", "c3", "d4", "e5"}) ASSERT_TRUE(store->create_session(name));
  EXPECT_THAT(store->session("x").error().detail,
              testing::EndsWith("; there are 'shop', 'a1', 'b2', 'c3', 'd4' and more: tapdeck session list"))
      << "what was recorded last comes first";
}

}  // namespace
}  // namespace tapdeck::store
