#include "daemon/app/heartbeat.h"

#include <gtest/gtest.h>

#include "daemon/app/tapes.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::app {
namespace {

using namespace std::chrono_literals;
using server::WorkerRig;

TEST(Heartbeat, RenewsWhileTheWorkerTurnsAndStopsWhenItHangs) {
  WorkerRig rig;
  WorkerRig healthy;
  std::atomic<int> renewed{0};
  std::atomic<int> clock{0};  // beats of a worker that is well: what time it is
  Heartbeat heartbeat({rig.worker.get()}, 250ms, [&] { ++renewed; });
  Heartbeat other({healthy.worker.get()}, 250ms, [&] { ++clock; });
  EXPECT_TRUE(eventually([&] { return renewed >= 2; }));
  EXPECT_TRUE(heartbeat.all_turned());
  {
    const std::scoped_lock hang(rig.flows.mutex);  // the loop stops in the flow lookup of the next connection
    server::Wire wire = rig.connect();
    EXPECT_TRUE(eventually([&] { return rig.flows.asked == 1; }));
    // A tick that was counted just before may still renew once.
    const int at_hang = renewed;
    const int began = clock;
    EXPECT_TRUE(eventually([&] { return clock >= began + 4; }));
    EXPECT_LE(renewed, at_hang + 1);
    ignore(heartbeat.all_turned(), "takes in what turned before the hang");
    EXPECT_FALSE(heartbeat.all_turned());
  }
  const int freed = renewed;
  EXPECT_TRUE(eventually([&] { return renewed > freed; })) << "a worker that goes on is trusted again";
}

struct TapesRig {
  TestDirectory folder;
  std::unique_ptr<store::ExchangeStore> store;
  modes::RuntimeState runtime;
  modes::Cursors cursors;
  MetricsRegistry registry;
  std::optional<Tapes> tapes;
  explicit TapesRig(Tapes::Routes routes = Tapes::Routes::NoTape) {
    store::StoreOptions options;
    options.path = folder.path() + "/store";
    store = tls::testing::must(store::ExchangeStore::open(options, store::Access::ReadWrite));
    tapes.emplace(*store, runtime, cursors, registry, routes);
  }
};

Assignment assignment(Mode mode, const std::string& session = "s") {
  Assignment out;
  out.name = "web";
  out.mode = mode;
  out.session = session;
  return out;
}

TEST(Tapes, EachAssignmentInARecordingModeOpensANewTake) {
  TapesRig rig;
  ASSERT_TRUE(rig.tapes->assign(2, assignment(Mode::Record)));
  EXPECT_EQ(rig.tapes->take_of(2), 1U);
  const auto first = rig.runtime.load()->targets[2].tape;
  ASSERT_TRUE(rig.tapes->assign(2, assignment(Mode::Hybrid)));
  EXPECT_EQ(rig.tapes->take_of(2), 2U);
  EXPECT_NE(rig.runtime.load()->targets[2].tape->id, first->id) << "cursors begin anew";
  Assignment append = assignment(Mode::Record);
  append.append = store::Append::Yes;
  ASSERT_TRUE(rig.tapes->assign(2, append));
  EXPECT_EQ(rig.tapes->take_of(2), 2U);
}

TEST(Tapes, WhoComesBackGoesOnWithItsOwnTake) {
  TapesRig rig;
  Assignment web = assignment(Mode::Record), mail = assignment(Mode::Record);
  web.holder = "container:web";
  mail.holder = "container:mail";
  ASSERT_TRUE(rig.tapes->assign(2, web));
  ASSERT_TRUE(rig.tapes->assign(3, mail));
  web.append = store::Append::Yes;
  ASSERT_TRUE(rig.tapes->assign(2, web));
  EXPECT_EQ(rig.tapes->take_of(2), 1U) << "not the newest, which is another's";
  web.mode = Mode::Hybrid;
  ASSERT_TRUE(rig.tapes->assign(2, web));
  EXPECT_EQ(rig.tapes->take_of(2), 3U) << "another mode is another take";
}

TEST(Tapes, ReplayOpensNoTakeAndAnUnknownSessionChangesNothing) {
  TapesRig rig;
  ASSERT_TRUE(rig.tapes->assign(2, assignment(Mode::Record, "known")));
  const auto missing = rig.tapes->assign(2, assignment(Mode::Replay, "knwon"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::NotFound);
  EXPECT_NE(missing.error().detail.find("known"), std::string::npos);
  EXPECT_EQ(rig.runtime.load()->targets[2].mode, Mode::Record);
  ASSERT_TRUE(rig.tapes->assign(2, assignment(Mode::Replay, "known")));
  EXPECT_EQ(rig.tapes->take_of(2), 0U);
  EXPECT_EQ(rig.store->session("known")->takes, 1U);
}

TEST(Tapes, CursorsGoWithTheirTape) {
  TapesRig rig;
  const auto play = [&](uint32_t slot) {
    for (uint8_t i = 0; i < 10; ++i) {
      modes::CursorKey key{rig.runtime.load()->targets[slot].tape->id, static_cast<TargetSlot>(slot), {}};
      key.key.bytes.fill(i);
      rig.cursors.get(key)->fetch_add(1);
    }
  };
  ASSERT_TRUE(rig.tapes->assign(2, assignment(Mode::Record)));
  ASSERT_TRUE(rig.tapes->assign(3, assignment(Mode::Record)));
  play(3);
  for (const Mode mode : {Mode::Replay, Mode::Replay, Mode::Hybrid}) {
    ASSERT_TRUE(rig.tapes->assign(2, assignment(mode)));
    EXPECT_EQ(rig.cursors.size(), 10U) << "those of slot 3";
    play(2);
  }
  EXPECT_EQ(rig.cursors.size(), 20U);
  rig.tapes->vacate(2);
  EXPECT_EQ(rig.cursors.size(), 10U);
}

TEST(Tapes, PassthroughHasNoTapeAndASlotBeyondTheTableIsRefused) {
  TapesRig rig;
  ASSERT_TRUE(rig.tapes->assign(2, assignment(Mode::Passthrough)));
  EXPECT_EQ(rig.runtime.load()->targets[2].tape, nullptr);
  EXPECT_EQ(rig.tapes->assign(kTargetSlots, assignment(Mode::Record)).error().code, Code::InvalidArgument);
}

std::vector<config::Route> routes_in(std::initializer_list<Mode> modes) {
  std::vector<config::Route> routes(1);  // one that leaves it to the target
  for (const Mode mode : modes) routes.emplace_back().mode = mode;
  return routes;
}

TEST(Tapes, WhatRoutesNeedOneForIsWhatTheirModesSay) {
  EXPECT_EQ(Tapes::routes_of(routes_in({})), Tapes::Routes::NoTape);
  EXPECT_EQ(Tapes::routes_of(routes_in({Mode::Passthrough})), Tapes::Routes::NoTape);
  EXPECT_EQ(Tapes::routes_of(routes_in({Mode::Passthrough, Mode::Replay})), Tapes::Routes::Replay);
  EXPECT_EQ(Tapes::routes_of(routes_in({Mode::Replay, Mode::Record})), Tapes::Routes::Record);
  EXPECT_EQ(Tapes::routes_of(routes_in({Mode::Hybrid})), Tapes::Routes::Record);
}

TEST(Tapes, PassthroughReadsTheOneThatARouteReplays) {
  TapesRig rig(Tapes::Routes::Replay);
  ASSERT_TRUE(rig.tapes->assign(2, assignment(Mode::Passthrough, "later"))) << "the rest passes";
  EXPECT_EQ(rig.runtime.load()->targets[2].tape, nullptr);
  const auto made = tls::testing::must(rig.store->create_session("later"));
  ASSERT_TRUE(rig.tapes->assign(2, assignment(Mode::Passthrough, "later")));
  const auto tape = rig.runtime.load()->targets[2].tape;
  ASSERT_NE(tape, nullptr);
  EXPECT_EQ(tape->take.session_number, made.number);
  EXPECT_EQ(rig.tapes->take_of(2), 0U);
  EXPECT_EQ(rig.store->session("later")->takes, 0U) << "nothing is recorded";
}

}  // namespace
}  // namespace tapdeck::app
