// Stores beside the store: which session and which take their recordings become, and that their maker is told.
#include "store/merge_receipt.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

class Beside : public testing::Test {
 protected:
  Beside() {
    options_.path = dir_.path();
    store_ = open_store(options_);
  }
  // A session of this name with a secret of its own, as another install makes it.
  std::string exported(const std::string& name) {
    auto other = open_store(other_.path());
    Recorder recorder(*other, name);
    ignore(recorder.record("/theirs", "theirs"), "one is enough");
    const std::string file = other_.path() + "/" + name + ".tapdeck";
    EXPECT_TRUE(other->export_session(name, file));
    return file;
  }
  void open_beside() {
    auto beside = ExchangeStore::open_pending(options_);
    ASSERT_TRUE(beside) << beside.error().message();
    beside_ = std::move(*beside);
    path_ = beside_->options().path;
    auto receipt = MergeReceipt::place(path_);
    ASSERT_TRUE(receipt) << receipt.error().message();
    receipt_ = std::move(*receipt);
  }
  void merge(uint64_t recordings) {
    beside_.reset();
    const auto merged = store_->merge_pending(path_);
    ASSERT_TRUE(merged) << merged.error().message();
    EXPECT_EQ(*merged, recordings);
  }
  // Bodies of the newest take that has GET `target`, found by the keys of `session`.
  std::vector<std::string> replayed(const std::string& session, const std::string& target) {
    const KeyHasher hasher(*store_->key_secret(session));
    KeyBuilder key(hasher, "https", "api.example.com", 443, "GET", target);
    key.body({});
    std::vector<std::string> bodies;
    const auto ids = store_->lookup(session, key.key());
    if (!ids) return {ids.error().message()};
    for (const uint64_t id : *ids) bodies.push_back(*store_->read_body(store_->get(session, id)->response_body));
    return bodies;
  }
  using Bodies = std::vector<std::string>;

  TestDirectory dir_, other_;
  StoreOptions options_;
  std::unique_ptr<ExchangeStore> store_, beside_;
  std::string path_;
  std::optional<MergeReceipt> receipt_;
};

TEST_F(Beside, ASessionThatWasImportedMeanwhileIsNotJoined) {
  open_beside();
  Recorder recorder(*beside_, "q");
  ignore(recorder.record("/ours", "ours"), "");
  ASSERT_TRUE(store_->import_session(exported("q"), {}));
  merge(1);
  EXPECT_EQ(replayed("q", "/theirs"), Bodies{"theirs"});
  EXPECT_EQ(store_->session("q")->recordings, 1U);
  EXPECT_EQ(replayed("q-2", "/ours"), Bodies{"ours"});
  EXPECT_EQ(receipt_->of("q"), (MergedAs{"q-2", 1}));
}

TEST_F(Beside, AnOriginWhoseCertificateFailedIsKnownThoughNothingWasRecorded) {
  open_beside();
  const auto take = beside_->open_take("q", Append::No);
  ASSERT_TRUE(take);
  std::vector<PendingWrite> writes;
  writes.push_back(origin_write(*take, "API.test", 443, {"", "", "expired", ""}, {"h2", "h2"}));
  ASSERT_TRUE(beside_->write(writes, Durability::Fsync));
  EXPECT_EQ(beside_->session("q")->recordings, 0U);
  merge(0);
  for (const auto offered : {std::optional<std::string_view>("h2"), std::optional<std::string_view>()}) {
    const auto facts = store_->origin_facts("q", "api.test", 443, offered);
    ASSERT_TRUE(facts && *facts);
    EXPECT_EQ((*facts)->verify_failure, "expired");
  }
  EXPECT_EQ(store_->session("q")->recordings, 0U);
}

TEST_F(Beside, WhatTwoRunsRecordedForTheLostSessionComesTogether) {
  open_beside();
  auto second = *ExchangeStore::open_pending(options_);
  ignore(Recorder(*beside_, "q").record("/x", "one"), "");
  ignore(Recorder(*second, "q").record("/x", "two"), "");
  ASSERT_TRUE(store_->import_session(exported("q"), {}));
  ASSERT_TRUE(store_->create_session("q-2")) << "it has a secret of its own name";
  merge(1);
  path_ = second->options().path;
  beside_ = std::move(second);
  merge(1);
  EXPECT_EQ(replayed("q-3", "/x"), Bodies{"two"});
  EXPECT_EQ(store_->session("q-3")->takes, 2U);
  EXPECT_EQ(store_->session("q-2")->recordings, 0U);
}

TEST_F(Beside, AnImportedSessionThatWasDeletedMeanwhileKeepsItsSecret) {
  ASSERT_TRUE(store_->import_session(exported("q"), {}));
  open_beside();
  ignore(Recorder(*beside_, "q").record("/ours", "ours"), "");
  ASSERT_TRUE(store_->delete_session("q"));
  merge(1);
  EXPECT_EQ(replayed("q", "/ours"), Bodies{"ours"});
  EXPECT_EQ(receipt_->of("q"), (MergedAs{"q", 1}));
}

TEST_F(Beside, AnImportedSessionThatWasMadeAnewMeanwhileIsNotJoined) {
  ASSERT_TRUE(store_->import_session(exported("q"), {}));
  open_beside();
  ignore(Recorder(*beside_, "q").record("/ours", "ours"), "");
  ASSERT_TRUE(store_->delete_session("q"));
  ASSERT_TRUE(store_->create_session("q"));
  merge(1);
  EXPECT_EQ(store_->session("q")->recordings, 0U);
  EXPECT_EQ(replayed("q-2", "/ours"), Bodies{"ours"});
}

TEST_F(Beside, ANameOfFullLengthFindsAnother) {
  const std::string longest(64, 'n');
  open_beside();
  ignore(Recorder(*beside_, longest).record("/ours", "ours"), "");
  ASSERT_TRUE(store_->import_session(exported("q"), longest));
  merge(1);
  EXPECT_EQ(replayed(longest.substr(0, 62) + "-2", "/ours"), Bodies{"ours"});
}

TEST_F(Beside, AppendExtendsTheLastTakeInOrder) {
  Recorder owner(*store_, "s");
  ignore(owner.record("/x", "one"), "");
  open_beside();
  ignore(Recorder(*beside_, "s", Append::Yes).record("/x", "two"), "");
  merge(1);
  EXPECT_EQ(replayed("s", "/x"), (Bodies{"one", "two"}));
  EXPECT_EQ(store_->session("s")->takes, 1U);
  EXPECT_EQ(receipt_->of("s"), (MergedAs{"s", 1}));
}

TEST_F(Beside, AppendPassesOverATakeThatNothingWasRecordedInto) {
  ignore(Recorder(*store_, "s").record("/x", "one"), "");
  ASSERT_TRUE(store_->open_take_of({"container:web", "record"}, "s", Append::No));
  open_beside();
  ignore(Recorder(*beside_, "s", Append::Yes).record("/x", "two"), "");
  merge(1);
  EXPECT_EQ(replayed("s", "/x"), (Bodies{"one", "two"}));
  EXPECT_EQ(receipt_->of("s"), (MergedAs{"s", 1}));
}

TEST_F(Beside, ARunThatRecordsNothingLeavesNoSession) {
  open_beside();
  ASSERT_TRUE(beside_->open_take("ghost", Append::No));
  merge(0);
  EXPECT_FALSE(store_->session("ghost"));
}

TEST_F(Beside, AnOriginThatANewSessionLearntIsKeptWithIt) {
  open_beside();
  std::vector<PendingWrite> writes;
  writes.push_back(
      origin_write(*beside_->open_take("q", Append::No), "api.test", 443, {"", "", "expired", ""}, {"", ""}));
  ASSERT_TRUE(beside_->write(writes, Durability::Fsync));
  merge(0);
  store_.reset();
  store_ = open_store(options_);
  ASSERT_TRUE(store_->session("q"));
  EXPECT_EQ((*store_->origin_facts("q", "api.test", 443))->verify_failure, "expired");
}

TEST_F(Beside, WithoutAppendItIsATakeOfItsOwn) {
  ignore(Recorder(*store_, "s").record("/x", "one"), "");
  open_beside();
  EXPECT_EQ(receipt_->of("s"), std::nullopt);
  ignore(Recorder(*beside_, "s").record("/x", "two"), "");
  merge(1);
  EXPECT_EQ(replayed("s", "/x"), Bodies{"two"});
  EXPECT_EQ(receipt_->of("s"), (MergedAs{"s", 2}));
}

}  // namespace
}  // namespace tapdeck::store
