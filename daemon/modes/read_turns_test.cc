#include "daemon/modes/read_turns.h"

#include <gmock/gmock.h>

#include "store/test_support.h"

namespace tapdeck::modes {
namespace {

using testing::ElementsAre;

class ReadTurns : public testing::Test {
 protected:
  uint64_t record(const char* client, store::Outcome outcome = {}) {
    auto builder = recorder.begin("/x");
    builder.provenance().client = *Endpoint::parse(client);
    builder.response(store::Recorder::ok());
    builder.finish(std::move(outcome));
    std::vector<store::PendingWrite> writes;
    builder.take_writes(writes);
    EXPECT_TRUE(store->write(writes, store::Durability::Wal));
    return writes.back().id;
  }
  HotEntry read(const Endpoint& client, Answers answers = Answers::All, Others others = Others::Kept) {
    const CursorKey key{.tape = 1, .target = 1, .key = recorder.key("/x"), .client = client};
    size_t unreadable = 0;
    auto entry = read_turns(*store, "s", key, answers, others, {}, unreadable);
    EXPECT_TRUE(entry);
    EXPECT_EQ(unreadable, 0U);
    return entry ? std::move(*entry) : HotEntry{};
  }

  const store::Outcome left_midway{store::Outcome::Kind::Incomplete, 0, "client_gone"};
  const store::Outcome reset_midway{store::Outcome::Kind::Reset, 0, "upstream_reset"};
  TestDirectory dir;
  std::unique_ptr<store::ExchangeStore> store = store::open_store(dir.path());
  store::Recorder recorder{*store, "s"};
};

TEST_F(ReadTurns, OfOneClientAreThoseThatItLeftToo) {
  const uint64_t whole = record("10.0.0.1:1");
  const uint64_t left = record("10.0.0.1:2", left_midway);
  const HotEntry entry = read({});
  EXPECT_THAT(entry.ids, ElementsAre(whole, left));
  EXPECT_EQ(entry.turns().count, 2U);
  EXPECT_EQ(entry.turns().last, 0U) << "which repeats";
}

TEST_F(ReadTurns, OfManyClientsAreThoseThatTheSameOneLeft) {
  const uint64_t one = record("10.0.0.1:1", left_midway);
  const uint64_t two = record("10.0.0.2:1", left_midway);
  const uint64_t whole = record("10.0.0.2:2");
  const HotEntry first = read(*Endpoint::parse("10.0.0.1:0"));
  EXPECT_THAT(first.ids, ElementsAre(one, whole, two));
  EXPECT_EQ(first.usable, 2U);
  EXPECT_EQ(first.last, 1U);
  const HotEntry stranger = read(*Endpoint::parse("10.0.0.3:0"), Answers::All, Others::Dropped);
  EXPECT_THAT(stranger.ids, ElementsAre(whole));
  EXPECT_EQ(stranger.usable, 1U);
  EXPECT_EQ(stranger.last, 0U);
}

TEST_F(ReadTurns, AreOfCompleteOnesAloneWhereAnOriginCanBeAsked) {
  record("10.0.0.1:1", left_midway);
  const uint64_t whole = record("10.0.0.1:1");
  record("10.0.0.1:1", reset_midway);
  for (const Others others : {Others::Kept, Others::Dropped}) {
    const HotEntry entry = read({}, Answers::Complete, others);
    EXPECT_THAT(entry.ids, ElementsAre(whole));
    EXPECT_EQ(entry.usable, 1U);
    EXPECT_EQ(entry.last, 0U);
  }
}

TEST_F(ReadTurns, WithoutAFinishedOneAreTheLastResort) {
  const uint64_t one = record("10.0.0.1:1", left_midway);
  const uint64_t two = record("10.0.0.2:1", left_midway);
  const HotEntry entry = read(*Endpoint::parse("10.0.0.3:0"));
  EXPECT_THAT(entry.ids, ElementsAre(one, two));
  EXPECT_EQ(entry.turns().count, 2U);
  EXPECT_EQ(entry.turns().last, 1U);
  EXPECT_EQ(entry.last, std::nullopt);
}

}  // namespace
}  // namespace tapdeck::modes
