#include "daemon/app/targets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/app/targets_rig.h"
#include "daemon/base/eventually.h"
#include "daemon/config/config.h"

namespace tapdeck::app {
namespace {

using State = TargetStatus::State;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(Targets, AttachedOnesSurviveARestartOfTheDaemon) {
  const std::string path = cgroup("jobs");
  {
    auto first = registry();
    const auto status = first->attach(wanted(TargetKind::Cgroup, path));
    ASSERT_TRUE(status) << status.error().message();
    EXPECT_EQ(status->id, 1U);
    EXPECT_EQ(status->state, State::Attached);
    EXPECT_EQ(status->captured, path);
    EXPECT_THAT(status->uncaptured, ElementsAre(std::pair<const std::string, uint64_t>("udp", 1)));
  }
  EXPECT_THAT(backend_.take(), ElementsAre("attach 1 " + path + " s"));
  auto second = registry();
  second->start();
  EXPECT_THAT(backend_.take(), ElementsAre("attach 1 " + path + " s"));
  EXPECT_THAT(second->list(), SizeIs(1));
}

TEST_F(Targets, WhatTheBackendWaitsForIsTriedAgainUntilItIsThere) {
  auto targets = registry();
  targets->start();
  backend_.waits = 3;
  targets->look_soon(0);
  EXPECT_TRUE(eventually([&] { return backend_.waits == 0; })) << "with no target to be looked at";
}

TEST_F(Targets, AttachingAgainUpdatesAndKeepsTheId) {
  auto targets = registry();
  const std::string path = cgroup("jobs");
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, path, "one")));
  const auto again = targets->attach(wanted(TargetKind::Cgroup, path, "two"));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->id, 1U);
  EXPECT_EQ(again->settings.session, "two");
  EXPECT_THAT(targets->list(), SizeIs(1));
}

TEST_F(Targets, ACgroupIsOneTargetHoweverItIsWritten) {
  auto targets = registry();
  const std::string path = cgroup("jobs");
  const std::string below = path.substr(top_.rfind('/') + 1);
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, below, "one")));
  for (const std::string& spelling : {"/" + below, path, path + "/"}) {
    const auto again = targets->attach(wanted(TargetKind::Cgroup, spelling, spelling));
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(again->id, 1U);
    EXPECT_EQ(again->settings.session, spelling);
  }
  ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, below, "configured")}));
  EXPECT_THAT(targets->list(), SizeIs(1));
  EXPECT_TRUE(targets->detach("cgroup:" + path));
  EXPECT_THAT(targets->list(), IsEmpty());
}

TEST_F(Targets, DetachForgetsByIdSpecOrName) {
  auto targets = registry();
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, cgroup("a"))));
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, cgroup("b"))));
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Interface, "lo")));
  EXPECT_TRUE(targets->detach("1"));
  EXPECT_TRUE(targets->detach("cgroup:" + top_ + "/b"));
  EXPECT_TRUE(targets->detach("lo"));
  EXPECT_THAT(targets->list(), IsEmpty());
  EXPECT_THAT(registry()->list(), IsEmpty());
  const auto missing = targets->detach("lo");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::NotFound);
}

TEST_F(Targets, DetachedIsDetachedWhenOnlyTheCleanUpFails) {
  auto targets = registry();
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Interface, "lo")));
  backend_.refuse = true;
  const auto detached = targets->detach("lo");
  ASSERT_FALSE(detached);
  EXPECT_THAT(detached.error().message(), testing::AllOf(HasSubstr("detached, but"), HasSubstr("cannot be removed")));
  EXPECT_THAT(targets->list(), IsEmpty());
  EXPECT_THAT(registry()->list(), IsEmpty()) << "nor after a restart";
}

TEST_F(Targets, AClosedInterfaceThatIsRefusedWhateverItAsksIsSaidAndItsGapsCounted) {
  auto targets = registry();
  backend_.gap_count = 2;  // of whoever had the slot before
  TargetSettings settings = wanted(TargetKind::Interface, "lo");
  settings.mode = Mode::Replay;
  ASSERT_TRUE(targets->attach(settings));
  targets->start();
  EXPECT_EQ(targets->find("lo")->gaps, 0U);
  backend_.set_trouble("a rule comes before ours");
  targets->look_soon(1);
  EXPECT_TRUE(eventually([&] { return !targets->uncaptured_problem().empty(); }));
  EXPECT_THAT(targets->uncaptured_problem(), HasSubstr("a rule comes before ours"));
  EXPECT_EQ(targets->find("lo")->detail, "a rule comes before ours");
  backend_.set_trouble("");
  backend_.gap_count = 3;
  targets->look_soon(1);
  EXPECT_TRUE(eventually([&] { return targets->uncaptured_problem().empty(); }));
  EXPECT_EQ(targets->find("lo")->gaps, 1U);
  EXPECT_EQ(targets->find("lo")->gap_total, std::chrono::milliseconds(7));
}

TEST_F(Targets, ANewOneBeginsWithNothingCountedThoughItsSlotHadAnother) {
  auto targets = registry();
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, cgroup("a"))));
  backend_.passed[1] += 41;
  EXPECT_EQ(targets->find("1")->uncaptured.at("udp"), 42U);
  EXPECT_TRUE(targets->detach("1"));
  const auto next = targets->attach(wanted(TargetKind::Cgroup, cgroup("b")));
  ASSERT_TRUE(next);
  EXPECT_EQ(next->id, 1U);
  EXPECT_EQ(next->uncaptured.at("udp"), 1U);
}

TEST_F(Targets, ACgroupThatIsMadeAgainAtOnceIsAttachedAgainAndItsGapCounted) {
  auto targets = registry();
  const std::string path = cgroup("jobs");
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, path)));
  targets->start();
  EXPECT_THAT(backend_.next(), testing::HasSubstr("attach 1 " + path));
  ASSERT_EQ(::rmdir(path.c_str()), 0);
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  EXPECT_THAT(backend_.next(), testing::HasSubstr("attach 1 " + path));
  for (int i = 0; i < 500 && targets->find("1")->gaps == 0; ++i) std::this_thread::yield();
  EXPECT_EQ(targets->find("1")->gaps, 1U);
}

TEST_F(Targets, ANameThatDoesNotExistIsAnErrorUnlessItMayCome) {
  auto targets = registry();
  const std::string path = top_ + "/later";
  EXPECT_EQ(targets->attach(wanted(TargetKind::Cgroup, path)).error().code, Code::NotFound);
  EXPECT_THAT(targets->list(), IsEmpty());
  ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, path)}));
  EXPECT_EQ(targets->list().at(0).state, State::Waiting);
  cgroup("later");
  EXPECT_EQ(backend_.next(), "attach 1 " + path + " s");
}

TEST_F(Targets, AContainerThatRestartsWithAnotherCgroupIsAttachedAgainAndTheGapCounted) {
  const std::string one = "1111111111111111";
  const std::string two = "2222222222222222";
  const std::string first = cgroup("libpod-" + one);
  const pid_t before = process_in(first);
  podman_says(running(one, before));
  auto targets = registry();
  targets->start();
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "web")));
  EXPECT_EQ(backend_.next(), "attach 1 " + first + " s");

  podman_says("echo 'no such container' >&2; exit 125");
  end(before);
  ::rmdir(first.c_str());
  const std::string second = top_ + "/libpod-" + two;
  const pid_t after = process_in(cgroup("libpod-" + two));
  podman_says(running(two, after));
  EXPECT_EQ(backend_.next(), "attach 1 " + second + " s");
  const auto status = targets->find("web");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, State::Attached);
  EXPECT_EQ(status->gaps, 1U);
}

TEST_F(Targets, APidThatEndsFailsForGoodAndAReusedOneIsAnother) {
  const pid_t pid = process_in(cgroup("jobs"));
  {
    auto targets = registry();
    const auto status = targets->attach(wanted(TargetKind::Pid, std::to_string(pid)));
    ASSERT_TRUE(status) << status.error().message();
    EXPECT_NE(status->settings.pid_start, 0U);
  }
  // The same number with another start time: what is kept is not this process.
  std::ifstream in(directory_ / "targets.json");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const size_t at = text.find("\"pid_start\": ");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 13, "\"pid_start\": 1");
  std::ofstream(directory_ / "targets.json") << text;
  backend_.take();
  auto targets = registry();
  targets->start();
  EXPECT_EQ(targets->list().at(0).state, State::Failed);
  EXPECT_THAT(backend_.take(), IsEmpty());
}

TEST_F(Targets, WhatTheCaptureLayerRefusesIsNotKept) {
  auto targets = registry();
  backend_.refuse = true;
  const auto status = targets->attach(wanted(TargetKind::Cgroup, cgroup("jobs")));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::Permission);
  EXPECT_THAT(targets->list(), IsEmpty());
}

TEST_F(Targets, OneCgroupIsOneTargetAndSlotsAreFinite) {
  auto targets = registry();
  const std::string path = cgroup("jobs");
  const pid_t pid = process_in(path);
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, path)));
  const auto same = targets->attach(wanted(TargetKind::Pid, std::to_string(pid)));
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().code, Code::AlreadyExists);
  EXPECT_THAT(same.error().detail, HasSubstr("target 1"));
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, cgroup("b"))));
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, cgroup("c"))));
  EXPECT_EQ(targets->attach(wanted(TargetKind::Cgroup, cgroup("d"))).error().code, Code::Exhausted);
}

TEST_F(Targets, OneThatLeadsToTheCgroupOfAnotherWaitsUntilThatIsDetached) {
  const std::string path = cgroup("jobs");
  podman_says(running("1111111111111111", process_in(path)));
  ASSERT_TRUE(registry()->attach(wanted(TargetKind::Cgroup, path, "one")));
  auto targets = registry();
  const auto started = targets->start({wanted(TargetKind::Container, "web", "two")});
  ASSERT_TRUE(started) << started.error().message();
  EXPECT_EQ(targets->find("web")->state, State::Waiting);
  EXPECT_THAT(targets->find("web")->detail, HasSubstr("is target 1 already (cgroup:"));
  EXPECT_TRUE(targets->detach("1"));
  EXPECT_TRUE(eventually([&] { return targets->find("web")->state == State::Attached; }));
}

TEST_F(Targets, OfTwoConfiguredWaysToWriteACgroupTheSecondWaitsAlsoAfterARestart) {
  const std::string path = cgroup("jobs");
  const std::string below = path.substr(top_.rfind('/'));
  for (int start = 0; start < 2; ++start) {
    auto targets = registry();
    ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, below, "one"), wanted(TargetKind::Cgroup, path, "two")}));
    ASSERT_THAT(targets->list(), SizeIs(2));
    EXPECT_EQ(targets->find("1")->state, State::Attached);
    EXPECT_EQ(targets->find("1")->settings.session, "one");
    EXPECT_EQ(targets->find("2")->state, State::Waiting);
    EXPECT_EQ(targets->find("2")->settings.session, "two");
    EXPECT_THAT(targets->find("2")->detail, HasSubstr("is target 1 already (cgroup:"));
  }
}

TEST_F(Targets, OneThatComesToTheCgroupOfAnotherIsNotAttachedThereToo) {
  auto targets = registry();
  podman_says("echo 'no such container' >&2; exit 125");
  const std::string path = top_ + "/libpod-1111111111111111";
  ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, path), wanted(TargetKind::Container, "web")}));
  cgroup("libpod-1111111111111111");
  ASSERT_EQ(backend_.next(), "attach 1 " + path + " s");
  podman_says(running("1111111111111111", process_in(path)));
  EXPECT_TRUE(eventually([&] { return targets->find("web")->passes; }));
  EXPECT_THAT(targets->find("web")->detail, HasSubstr("is target 1 already"));
  EXPECT_THAT(backend_.take(), IsEmpty());
}

TEST_F(Targets, AnOpenOneIsNotAttachedWhileWeCannotWriteDownItsTrust) {
  const std::string path = cgroup("jobs");
  own_mounts_in(path);
  std::atomic<bool> is_full = true;
  bind_trust_ = [&](int) -> Result<std::unique_ptr<trust::Binding>> {
    if (!is_full) return fail(Code::NotFound, "ended");
    return fail(Code::NoSpace, "write /run/tapdeck/trust/x.manifest", Origin::Store);
  };
  auto targets = registry();
  ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, path)}));
  EXPECT_TRUE(targets->list().at(0).passes);
  EXPECT_THAT(targets->list().at(0).detail, HasSubstr("x.manifest"));
  EXPECT_FALSE(targets->attach(wanted(TargetKind::Cgroup, path)));
  is_full = false;
  EXPECT_TRUE(eventually([&] { return targets->list().at(0).state == State::Attached; }));
  is_full = true;
  TargetSettings sealed = wanted(TargetKind::Cgroup, path);
  sealed.sealed = true;
  ASSERT_TRUE(targets->detach("1"));
  EXPECT_TRUE(targets->attach(sealed)) << "nothing may pass, trusting or not";
}

TEST_F(Targets, OneWithoutANameGetsOneThatIsALabel) {
  auto targets = registry();
  const std::string strange = cgroup("a b\\x2dc");
  const std::string long_one = cgroup(std::string(100, 'x') + "1");
  const std::string other_one = cgroup(std::string(100, 'x').replace(0, 1, "y") + "1");
  std::vector<std::string> names;
  for (const std::string& path : {strange, long_one, other_one}) {
    const auto status = targets->attach(wanted(TargetKind::Cgroup, path));
    ASSERT_TRUE(status) << status.error().message();
    names.push_back(status->settings.shown());
    EXPECT_EQ(config::check_target_name(names.back()), std::nullopt) << names.back();
    EXPECT_TRUE(targets->find(path)) << "what was typed still names it";
  }
  EXPECT_TRUE(names[0].ends_with("/a_b_x2dc")) << names[0];
  EXPECT_NE(names[1], names[2]);
}

TEST_F(Targets, UpdateChangesWhatIsKeptAndTellsTheCaptureLayer) {
  auto targets = registry();
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, cgroup("jobs"))));
  backend_.take();
  const auto updated = targets->update("1", [](TargetSettings& settings) {
    settings.session = "other";
    settings.mode = Mode::Replay;
    settings.spec.name = "may not change";
  });
  ASSERT_TRUE(updated) << updated.error().message();
  EXPECT_THAT(backend_.take(), ElementsAre("update 1 other"));
  const auto kept = load_targets(directory_ / "targets.json");
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->at(1).mode, Mode::Replay);
  EXPECT_EQ(kept->at(1).spec.name, top_ + "/jobs");
}

TEST_F(Targets, AListThatDoesNotDecodeIsKeptAsideAndSaid) {
  std::ofstream(directory_ / "targets.json") << "{\"version\":1,\"targets\":[{\"id\":\"x\"}]}";
  auto targets = registry();
  EXPECT_THAT(targets->list(), IsEmpty());
  EXPECT_THAT(targets->last_error(), HasSubstr("targets.json.bad"));
  EXPECT_TRUE(std::filesystem::exists(directory_ / "targets.json.bad"));
}

}  // namespace
}  // namespace tapdeck::app
