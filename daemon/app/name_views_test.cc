#include "daemon/app/name_views.h"

#include <gtest/gtest.h>

#include "daemon/base/test_directory.h"
#include "daemon/names/names_rig.h"
#include "store/name_answers.h"
#include "store/test_support.h"

namespace tapdeck::app {
namespace {

using names::Ask;
using names::LookupEnd;
using names::Outside;
using From = NameViews::From;
using modes::Sealed;

class NameViewsTest : public testing::Test {
 protected:
  [[nodiscard]] modes::TargetState target(Mode mode, Sealed sealed = Sealed::No) const {
    modes::TargetState out;
    out.name = "web";
    out.mode = mode;
    out.session = "s";
    out.sealed = sealed;
    out.tape = tape_;
    return out;
  }
  void record(const std::string& end, const std::string& reply = {}) {
    std::vector<store::PendingWrite> writes;
    writes.push_back(store::name_write(tape_->take, {"a.example", names::kA, end, reply}));
    ASSERT_TRUE(store_->write(writes, store::Durability::Wal));
  }
  [[nodiscard]] std::string kept() {
    writer_->flush();
    const auto found = store::name_answer(*store_, "s", "a.example", names::kA);
    return found && *found ? (*found)->end : "";
  }

  TestDirectory directory_;
  config::Config config_;
  std::unique_ptr<store::ExchangeStore> store_ = store::open_store(directory_.path());
  std::unique_ptr<store::StoreWriter> writer_ = *store::StoreWriter::start(*store_);
  std::shared_ptr<const modes::Tape> tape_ = std::make_shared<const modes::Tape>(
      modes::Tape{*store_->open_take("s", store::Append::No), store::KeyHasher(*store_->key_secret("s")), 1, nullptr});
  NameKeeper keeper_{store_.get(), writer_.get()};
  NameViews views_{config_, *store_, keeper_};
};

TEST_F(NameViewsTest, AreMadeAnewOnlyWhenTheTargetIsSetOtherwise) {
  const auto first = views_.of(3, target(Mode::Replay), From::OwnNetwork);
  EXPECT_EQ(views_.of(3, target(Mode::Replay), From::OwnNetwork), first);
  EXPECT_NE(views_.of(3, target(Mode::Replay, Sealed::Yes), From::OwnNetwork), first);
  EXPECT_NE(views_.of(4, target(Mode::Replay), From::OwnNetwork), first) << "another target";
  EXPECT_EQ(views_.of(3, {}, From::OwnNetwork), nullptr) << "detached";
}

TEST_F(NameViewsTest, InReplayTheTapeComesFirstAndTheWayOutIsForWhoHasOne) {
  const auto open = views_.of(3, target(Mode::Replay), From::OwnNetwork);
  EXPECT_EQ(open->ask, Ask::TapeOnly);
  EXPECT_EQ(open->outside("a.example"), Outside::AfterTape);
  EXPECT_EQ(views_.of(3, target(Mode::Replay, Sealed::Yes), From::OwnNetwork)->outside("a.example"), Outside::No);
  EXPECT_EQ(views_.of(3, target(Mode::Replay), From::AllIsLocal)->outside("a.example"), Outside::No);
  for (const Mode mode : {Mode::Record, Mode::Hybrid}) {
    EXPECT_EQ(views_.of(3, target(mode), From::OwnNetwork)->ask, Ask::OutsideFirst);
  }
}

TEST_F(NameViewsTest, TheTapeAnswersForASlowResolverInHybridAlone) {
  EXPECT_EQ(views_.of(3, target(Mode::Hybrid), From::OwnNetwork)->early, names::Early::FromTape);
  EXPECT_EQ(views_.of(3, target(Mode::Record, Sealed::Yes), From::OwnNetwork)->early, names::Early::No);
}

TEST_F(NameViewsTest, WhoIsSealedAsksForNamesAndNothingElse) {
  EXPECT_EQ(views_.of(3, target(Mode::Record, Sealed::Yes), From::OwnNetwork)->unread, names::Unread::Refused);
  EXPECT_EQ(views_.of(3, target(Mode::Hybrid), From::OwnNetwork)->unread, names::Unread::Passed);
}

TEST_F(NameViewsTest, ATargetsOwnBypassAndRoutesLetNamesThrough) {
  config_.routes.emplace_back();
  config_.routes.back().host = "live.example";
  config_.routes.back().target = "web";
  config_.routes.back().mode = Mode::Passthrough;
  auto sealed = target(Mode::Replay, Sealed::Yes);
  sealed.bypass = config::BypassRules(std::vector<std::string>{"db.example"});
  const auto view = views_.of(3, sealed, From::OwnNetwork);
  EXPECT_EQ(view->outside("live.example"), Outside::First);
  EXPECT_EQ(view->outside("db.example"), Outside::First);
  EXPECT_EQ(view->outside("a.example"), Outside::No);
}

TEST_F(NameViewsTest, WhatIsOnTapeIsWorthMoreThanNoAnswer) {
  const names::Lookup silence{"a.example", names::kA, LookupEnd::Silent, {}};
  views_.of(3, target(Mode::Hybrid), From::OwnNetwork)->on_lookup({}, silence);
  EXPECT_EQ(kept(), "silent") << "nothing was";
  record("answered", names::reply_to(names::query_of(7, "a.example", names::kA), 0x8183));
  for (const Mode mode : {Mode::Hybrid, Mode::Record}) {
    views_.of(3, target(mode, Sealed::Yes), From::OwnNetwork)->on_lookup({}, silence);
    EXPECT_EQ(kept(), "answered");
  }
}

TEST_F(NameViewsTest, WhatWasAskedInVainIsListedAndCounted) {
  const auto view = views_.of(3, target(Mode::Replay, Sealed::Yes), From::OwnNetwork);
  const auto query = names::read_query(names::query_of(7, "no.example", names::kA));
  ASSERT_TRUE(query);
  names::Asker asker;
  asker.target = 3;
  asker.pid = 42;
  asker.comm = {'c', 'u', 'r', 'l'};
  EXPECT_EQ(names::rcode_of(view->tape.of(*query, asker)), names::Rcode::NxDomain);
  const auto unknown = views_.unknown();
  ASSERT_EQ(unknown.size(), 1U);
  EXPECT_EQ(unknown[0].name, "no.example");
  EXPECT_EQ(unknown[0].pid, 42U);
  EXPECT_EQ(unknown[0].comm, "curl");
  MetricsSnapshot metrics;
  views_.read(metrics);
  EXPECT_EQ(metrics.value(Counter::MissName), 1U);
}

}  // namespace
}  // namespace tapdeck::app
