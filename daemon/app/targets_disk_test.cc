// TargetRegistry where its list cannot be written: what is attached stays so, and who asked is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include "daemon/app/targets_rig.h"

namespace tapdeck::app {
namespace {

using State = TargetStatus::State;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// The fixture with its list on a disk of 64 KiB.
class TargetsOnASmallDisk : public Targets {
 protected:
  void SetUp() override {
    Targets::SetUp();
    if (IsSkipped()) return;
    mounted_ = ::mount("tapdeck-test", directory_.path().c_str(), "tmpfs", 0, "size=64k") == 0;
    if (!mounted_) GTEST_SKIP() << "cannot mount a tmpfs";
  }
  void TearDown() override {
    if (mounted_) EXPECT_EQ(::umount2(directory_.path().c_str(), MNT_DETACH), 0);
    Targets::TearDown();
  }
  void fill() {
    std::ofstream filler(directory_ / "filler");
    filler.rdbuf()->pubsetbuf(nullptr, 0);
    while (filler.put('f')) continue;
  }
  void relieve() { std::filesystem::remove(directory_ / "filler"); }

 private:
  bool mounted_ = false;
};

TEST_F(TargetsOnASmallDisk, AStartThatChangesNothingNeedsNoSpace) {
  const TargetSettings later = wanted(TargetKind::Cgroup, top_ + "/later");
  ASSERT_TRUE(registry()->start({later}));
  fill();
  auto again = registry();
  const auto started = again->start({later});
  ASSERT_TRUE(started) << started.error().message();
  EXPECT_EQ(again->list().at(0).state, State::Waiting);
  EXPECT_THAT(again->last_error(), IsEmpty());
}

TEST_F(TargetsOnASmallDisk, WhatTheConfigurationNamesIsCapturedThoughItCannotBeWrittenDown) {
  const TargetSettings jobs = wanted(TargetKind::Cgroup, cgroup("jobs"));
  fill();
  auto targets = registry();
  for (int i = 0; i < 2; ++i) {
    const auto started = targets->start({jobs});
    ASSERT_TRUE(started) << started.error().message();
    EXPECT_EQ(targets->list().at(0).state, State::Attached);
    EXPECT_THAT(targets->last_error(), HasSubstr("No space left on device"));
  }
  relieve();
  ASSERT_TRUE(targets->start({jobs}));
  EXPECT_THAT(targets->last_error(), IsEmpty());
  EXPECT_THAT(registry()->list(), SizeIs(1));
}

TEST_F(TargetsOnASmallDisk, WhoAsksIsToldThatItIsDoneAndNotKept) {
  fill();
  auto targets = registry();
  const auto is_said = [](const std::string& what) {
    return AllOf(HasSubstr("is " + what + ", but the daemon's next start will not know it: "),
                 HasSubstr("No space left on device"));
  };
  const auto attached = targets->attach(wanted(TargetKind::Cgroup, cgroup("jobs")));
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().message(), is_said("attached"));
  ASSERT_THAT(targets->list(), SizeIs(1));
  EXPECT_EQ(targets->list().front().state, State::Attached);
  const auto changed = targets->update("1", [](TargetSettings& settings) { settings.session = "other"; });
  ASSERT_FALSE(changed);
  EXPECT_THAT(changed.error().message(), is_said("changed"));
  EXPECT_EQ(targets->list().front().settings.session, "other");
  relieve();
  ASSERT_TRUE(targets->update("1", [](TargetSettings&) {}));
  fill();
  const auto detached = targets->detach("1");
  ASSERT_FALSE(detached);
  EXPECT_THAT(detached.error().message(), is_said("detached"));
  EXPECT_THAT(targets->list(), IsEmpty());
}

}  // namespace
}  // namespace tapdeck::app
