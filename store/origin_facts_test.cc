// What is written of an origin without an exchange.
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

class OriginFactsAlone : public testing::Test {
 protected:
  void fail_with(const std::string& failure, bool is_learned) {
    std::vector<PendingWrite> writes;
    writes.push_back(
        origin_write(recorder_.take(), "API.example.com", 443, {"", "", failure, ""}, {"h2", "h2", is_learned}));
    ASSERT_TRUE(store_->write(writes, Durability::Wal));
  }
  std::string known(std::optional<std::string_view> offered = {}) {
    const auto facts = store_->origin_facts("s", "api.example.com", 443, offered);
    return facts && *facts ? (*facts)->verify_failure : "nothing";
  }
  void record_whole() {
    auto builder = recorder_.begin("/");
    builder.response(Recorder::ok());
    builder.provenance().upstream_alpn = "h2";
    builder.client_alpn({"h2", "h2"});
    builder.finish({});
    std::vector<PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(store_->write(writes, Durability::Wal));
  }
  TestDirectory dir_;
  std::unique_ptr<ExchangeStore> store_ = open_store(dir_.path());
  Recorder recorder_{*store_, "s"};
};

TEST_F(OriginFactsAlone, AreFoundThoughNothingIsRecorded) {
  EXPECT_EQ(known(), "nothing");
  fail_with("expired", true);
  EXPECT_EQ(known(), "expired");
  EXPECT_EQ(known("h2"), "expired");
  EXPECT_EQ(store_->stored_recordings(), 0U);
  store_.reset();
  store_ = open_store(dir_.path());
  EXPECT_EQ(known("h2"), "expired");
}

TEST_F(OriginFactsAlone, FollowTheOriginInBothDirections) {
  fail_with("expired", true);
  record_whole();
  EXPECT_EQ(known("h2"), "");
  fail_with("expired", true);
  EXPECT_EQ(known("h2"), "expired");
}

TEST_F(OriginFactsAlone, OfAModeThatKeepsNoFailuresHideNothing) {
  record_whole();
  fail_with("expired", false);
  EXPECT_EQ(known(), "");
  EXPECT_EQ(known("h2"), "");
}

TEST_F(OriginFactsAlone, OfADeletedSessionAreDropped) {
  ASSERT_TRUE(store_->delete_session("s"));
  fail_with("expired", true);
  EXPECT_EQ(known(), "nothing");
}

}  // namespace
}  // namespace tapdeck::store
