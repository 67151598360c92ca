#include "store/opening.h"

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

const Endpoint kAddress = *Endpoint::parse("192.0.2.7:443");

class OpeningTest : public testing::Test {
 protected:
  void hear(const Place& place) {
    std::vector<PendingWrite> writes;
    writes.push_back(greeting_write(recorder_.take(), place));
    ASSERT_TRUE(store_->write(writes, Durability::Wal));
  }
  [[nodiscard]] Opening look(const Place& place) const {
    const auto opening = store_->opening("s", place);
    EXPECT_TRUE(opening);
    return opening ? *opening : Opening::Unknown;
  }
  TestDirectory dir_;
  std::unique_ptr<ExchangeStore> store_ = open_store(dir_.path());
  Recorder recorder_{*store_, "s"};
};

TEST_F(OpeningTest, IsUnknownWhereNothingIsOnTape) {
  EXPECT_EQ(look({"https", "api.example.com", 443, kAddress}), Opening::Unknown);
  EXPECT_FALSE(store_->opening("no such session", {}));
}

TEST_F(OpeningTest, IsTheOriginsWhereItWasHeardFirst) {
  hear({"https", "Mail.example.com", 465, {}});
  EXPECT_EQ(look({"https", "mail.EXAMPLE.com", 465, {}}), Opening::Origin);
  EXPECT_EQ(look({"https", "mail.example.com", 993, {}}), Opening::Unknown);
  EXPECT_EQ(look({"http", "mail.example.com", 465, {}}), Opening::Unknown);
  EXPECT_EQ(look({"https", "other.example.com", 465, {}}), Opening::Unknown);
  EXPECT_EQ(store_->stored_recordings(), 0U);
  const auto facts = store_->origin_facts("s", "mail.example.com", 465, "");
  EXPECT_TRUE(facts && !*facts) << "it says nothing of ALPN";
}

TEST_F(OpeningTest, IsTheClientsWhereRequestsWereRecorded) {
  hear({"https", "api.example.com", 443, {}});
  hear({"https", "mail.example.com", 443, {}});
  recorder_.record("/", "whole");
  EXPECT_EQ(look({"https", "api.example.com", 443, {}}), Opening::Client) << "a greeting was an answer to silence";
  EXPECT_EQ(look({"https", "mail.example.com", 443, {}}), Opening::Origin);
  EXPECT_EQ(look({"https", "other.example.com", 443, {}}), Opening::Client) << "the port is one of requests";
  EXPECT_EQ(look({"http", "api.example.com", 443, {}}), Opening::Unknown);
  EXPECT_EQ(look({"https", "api.example.com", 444, {}}), Opening::Unknown);
}

TEST_F(OpeningTest, KnowsAPlaceByItsAddress) {
  hear({"https", "192.0.2.7", 443, kAddress});
  auto builder = recorder_.begin("/");
  builder.provenance().original_destination = kAddress;
  builder.response(Recorder::ok());
  builder.finish({});
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  ASSERT_TRUE(store_->write(writes, Durability::Wal));
  EXPECT_EQ(look({"https", "192.0.2.7", 443, kAddress}), Opening::Client);
}

TEST_F(OpeningTest, LivesThroughAReopen) {
  hear({"http", "192.0.2.7", 25, {}});
  store_.reset();
  store_ = open_store(dir_.path(), Access::ReadOnly);
  EXPECT_EQ(look({"http", "192.0.2.7", 25, {}}), Opening::Origin);
}

}  // namespace
}  // namespace tapdeck::store
