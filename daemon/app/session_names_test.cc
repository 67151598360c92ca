#include "daemon/app/session_names.h"

#include <gmock/gmock.h>

#include "daemon/base/eventually.h"
#include "store/test_support.h"

namespace tapdeck::app {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;

class SessionNamesTest : public testing::Test {
 protected:
  struct Origin {
    std::string host = {}, to = {}, sni = {}, path = "netns";
  };
  void record(const Origin& origin) {
    http::RequestHead head;
    head.method = "GET";
    head.target = "/";
    store::RecordingBuilder builder({hasher_, redactor_, take_}, store_->allocate_id(), 1'700'000'000'000'000, "https",
                                    origin.host, 443, head);
    if (!origin.to.empty()) builder.provenance().original_destination = *Endpoint::parse(origin.to);
    builder.provenance().capture_path = origin.path;
    builder.provenance().sni = origin.sni;
    builder.finish({});
    std::vector<store::PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(store_->write(writes, store::Durability::Wal));
  }
  std::optional<std::vector<std::string>> ask(std::string_view name) {
    const auto addresses = names_.addresses_of(name);
    if (!addresses) return std::nullopt;
    std::vector<std::string> text;
    for (const Endpoint& address : *addresses) {
      EXPECT_EQ(address.port, 0);
      text.push_back(address.ip());
    }
    return text;
  }

  TestDirectory directory_;
  std::unique_ptr<store::ExchangeStore> store_ = store::open_store(directory_.path());
  store::KeyHasher hasher_{*store_->key_secret("s")};
  store::Redactor redactor_{{}, store_->redaction_secret()};
  store::Take take_ = *store_->open_take("s", store::Append::No);
  SessionNames names_{*store_, "s"};
};

TEST_F(SessionNamesTest, ANameHasTheAddressesThatItsClientsWentTo) {
  record({.host = "api.example", .to = "192.0.2.1:443"});
  record({.host = "api.example", .to = "[2001:db8::1]:8443"});
  record({.host = "API.example.", .to = "192.0.2.2:443"});
  record({.host = "other.example", .to = "192.0.2.9:443"});
  EXPECT_THAT(ask("api.example"), Optional(ElementsAre("192.0.2.2", "2001:db8::1", "192.0.2.1")));
  EXPECT_THAT(ask("other.example"), Optional(ElementsAre("192.0.2.9")));
  EXPECT_EQ(ask("example"), std::nullopt);
}

TEST_F(SessionNamesTest, DestinationsAreWhereConnectionsWent) {
  record({.host = "api.example", .to = "192.0.2.1:443"});
  record({.host = "127.0.0.1", .to = "127.0.0.1:8080"});
  record({.host = "api.example", .to = "192.0.2.1:443"});
  std::vector<std::string> found;
  for (const Endpoint& one : names_.destinations()) found.push_back(one.to_string());
  EXPECT_THAT(found, testing::UnorderedElementsAre("192.0.2.1:443", "127.0.0.1:8080"));
}

TEST_F(SessionNamesTest, AnAddressIsThereOnceTheNewestFirst) {
  record({.host = "api.example", .to = "192.0.2.1:443"});
  record({.host = "api.example", .to = "192.0.2.2:443"});
  record({.host = "api.example", .to = "192.0.2.1:8443"});
  EXPECT_THAT(ask("api.example"), Optional(ElementsAre("192.0.2.1", "192.0.2.2")));
}

TEST_F(SessionNamesTest, ANameHasAtMostSoManyAddresses) {
  for (int i = 1; i <= 10; ++i) record({.host = "api.example", .to = "192.0.2." + std::to_string(i) + ":443"});
  EXPECT_THAT(ask("api.example"), Optional(SizeIs(SessionNames::kMostAddresses)));
  EXPECT_EQ(ask("api.example")->front(), "192.0.2.10");
}

TEST_F(SessionNamesTest, TheNameOfTheHandshakeIsOneToo) {
  record({.host = "inner.example", .to = "192.0.2.1:443", .sni = "Outer.example"});
  record({.host = "same.example", .to = "192.0.2.2:443", .sni = "same.example"});
  EXPECT_THAT(ask("inner.example"), Optional(ElementsAre("192.0.2.1")));
  EXPECT_THAT(ask("outer.example"), Optional(ElementsAre("192.0.2.1")));
  EXPECT_THAT(ask("same.example"), Optional(ElementsAre("192.0.2.2")));
}

TEST_F(SessionNamesTest, OfExplicitClientsOnlyTheNameIsKnown) {
  record({.host = "api.example", .to = "127.0.0.1:3128", .path = "explicit"});
  record({.host = "nowhere.example"});
  EXPECT_THAT(ask("api.example"), Optional(IsEmpty()));
  EXPECT_THAT(ask("nowhere.example"), Optional(IsEmpty()));
}

TEST_F(SessionNamesTest, AnAddressIsNoName) {
  record({.host = "192.0.2.1", .to = "192.0.2.1:443"});
  record({.host = "2001:db8::1", .to = "[2001:db8::1]:443"});
  record({.host = "", .to = "192.0.2.3:443"});
  EXPECT_EQ(ask("192.0.2.1"), std::nullopt);
  EXPECT_EQ(ask("2001:db8::1"), std::nullopt);
  EXPECT_EQ(ask(""), std::nullopt);
}

TEST_F(SessionNamesTest, WhatIsRecordedMeanwhileIsSeen) {
  EXPECT_EQ(ask("api.example"), std::nullopt) << "there is no such session yet";
  record({.host = "api.example", .to = "192.0.2.1:443"});
  EXPECT_TRUE(eventually([this] { return ask("api.example").has_value(); }));
  record({.host = "new.example", .to = "192.0.2.2:443"});
  EXPECT_TRUE(eventually([this] { return ask("new.example").has_value(); }));  // it rests between two walks
  EXPECT_THAT(ask("api.example"), Optional(ElementsAre("192.0.2.1")));
}

}  // namespace
}  // namespace tapdeck::app
