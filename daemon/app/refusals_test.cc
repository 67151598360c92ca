#include "daemon/app/refusals.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "store/test_support.h"

namespace tapdeck::app {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint32_t kSlot = 3;
const Endpoint kA = *Endpoint::parse("192.0.2.1:81");
const Endpoint kB = *Endpoint::parse("192.0.2.2:81");

class RefusalsTest : public testing::Test {
 protected:
  RefusalsTest() {
    config_.proxy.replay_refused = config::ReplayRefused::Refuse;
    assignment_.name = "web";
    assignment_.mode = Mode::Replay;
    assignment_.session = "s";
  }
  // Host api.example.com.
  void record(const Endpoint& to, const std::string& path, store::Outcome outcome) {
    auto builder = recorder_.begin(path);
    builder.provenance().original_destination = to;
    builder.response(store::Recorder::ok());
    builder.finish(std::move(outcome));
    std::vector<store::PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(store_->write(writes, store::Durability::Wal));
  }
  void refused(const Endpoint& to, const std::string& path) {
    record(to, path, {store::Outcome::Kind::Failed, 0, "upstream_connect", ECONNREFUSED});
  }

  TestDirectory directory_;
  std::unique_ptr<store::ExchangeStore> store_ = store::open_store(directory_.path());
  store::Recorder recorder_{*store_, "s"};
  config::Config config_;
  Assignment assignment_;
  std::vector<Endpoint> refused_;  // what the capture layer was told last
  int told_ = 0;
  bool fail_ = false;
  Refusals refusals_{config_, *store_, [this](uint32_t slot, const std::vector<Endpoint>& to) -> Result<size_t> {
                       EXPECT_EQ(slot, kSlot);
                       ++told_;
                       if (fail_) return fail(Code::Exhausted, "no room");
                       refused_ = to;
                       return to.size();
                     }};
};

TEST_F(RefusalsTest, FollowsTheSessionAndIsForgottenWithIt) {
  refused(kA, "/a");
  refused(kB, "/b");
  record(kB, "/c", {});
  refusals_.follow(kSlot, assignment_);
  EXPECT_THAT(refused_, ElementsAre(kA));
  ASSERT_TRUE(store_->create_session("other"));
  assignment_.session = "other";
  refusals_.follow(kSlot, assignment_);
  EXPECT_THAT(refused_, IsEmpty());
  assignment_.session = "s";
  refusals_.follow(kSlot, assignment_);
  EXPECT_THAT(refused_, ElementsAre(kA));
  refusals_.forget(kSlot);
  EXPECT_THAT(refused_, IsEmpty());
}

TEST_F(RefusalsTest, OnlyReplayWithTheOptionIsConcerned) {
  refused(kA, "/a");
  for (const Mode mode : {Mode::Record, Mode::Hybrid, Mode::Passthrough}) {
    assignment_.mode = mode;
    refusals_.follow(kSlot, assignment_);
  }
  assignment_.mode = Mode::Replay;
  config_.proxy.replay_refused = config::ReplayRefused::Answer;
  refusals_.follow(kSlot, assignment_);
  config_.proxy.replay_refused = config::ReplayRefused::Refuse;
  config_.routes.resize(1);
  config_.routes[0].on_miss = config::OnMiss::Forward;
  refusals_.follow(kSlot, assignment_);
  refusals_.look_again(kSlot);
  EXPECT_EQ(told_, 0);
  config_.routes.clear();
  refusals_.follow(kSlot, assignment_);
  EXPECT_THAT(refused_, ElementsAre(kA));
  assignment_.mode = Mode::Hybrid;
  refusals_.follow(kSlot, assignment_);
  EXPECT_THAT(refused_, IsEmpty()) << "another mode";
}

TEST_F(RefusalsTest, WhatIsRecordedMeanwhileIsSeen) {
  refused(kA, "/a");
  refused(kB, "/b");
  refusals_.follow(kSlot, assignment_);
  ASSERT_THAT(refused_, ElementsAre(kA, kB));
  const int before = told_;
  refusals_.look_again(kSlot);
  EXPECT_EQ(told_, before) << "nothing is new";
  record(kA, "/a", {});
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (told_ == before && std::chrono::steady_clock::now() < give_up) {  // it rests between two walks
    refusals_.look_again(kSlot);
    std::this_thread::yield();
  }
  EXPECT_THAT(refused_, ElementsAre(kB));
}

TEST_F(RefusalsTest, WhatCouldNotBeHandedOnIsTriedAgain) {
  refused(kA, "/a");
  fail_ = true;
  refusals_.follow(kSlot, assignment_);
  fail_ = false;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (refused_.empty() && std::chrono::steady_clock::now() < give_up) {  // it rests between two walks
    refusals_.look_again(kSlot);
    std::this_thread::yield();
  }
  EXPECT_THAT(refused_, ElementsAre(kA));
}

TEST_F(RefusalsTest, WhatIsBypassedNowIsLeftAlone) {
  refused(kA, "/a");
  refused(kB, "/b");
  assignment_.bypass = {"192.0.2.2"};
  refusals_.follow(kSlot, assignment_);
  EXPECT_THAT(refused_, ElementsAre(kA));
  config_.tls.bypass = {"api.example.com:81"};
  refusals_.follow(kSlot, assignment_);
  EXPECT_THAT(refused_, IsEmpty());
}

TEST_F(RefusalsTest, PagesAreReadToTheLast) {
  for (int i = 0; i < 1200; ++i) record(kB, "/" + std::to_string(i), {});
  refused(kA, "/last");
  refused(kB, "/too");
  refusals_.follow(kSlot, assignment_);
  EXPECT_THAT(refused_, ElementsAre(kA));
}

}  // namespace
}  // namespace tapdeck::app
