// What ran before it was captured, and how soon a cgroup is captured that is made again where it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "daemon/app/targets_rig.h"
#include "daemon/base/eventually.h"

namespace tapdeck::app {
namespace {

using State = TargetStatus::State;
using std::chrono::milliseconds;
using testing::HasSubstr;

const std::string kId(64, 'c');

class TargetsGaps : public Targets {
 protected:
  // A sealed container "web" that was attached and has ended; what its cgroup was.
  std::string ended_container(TargetRegistry& targets) {
    const std::string path = cgroup("libpod-" + kId);
    const pid_t pid = process_in(path);
    podman_says(running(kId, pid));
    TargetSettings settings = wanted(TargetKind::Container, "web");
    settings.sealed = true;
    EXPECT_TRUE(targets.attach(settings));
    podman_says("echo '[]'; echo 'no such container' >&2; exit 125");
    end(pid);
    ::rmdir(path.c_str());
    EXPECT_TRUE(eventually([&] { return targets.find("web")->state == State::Waiting; }));
    backend_.take();
    return path;
  }
  void hung_podman() {
    // The question that is being asked, if any, ends; the next has no answer.
    podman_says("exec /bin/sleep 1000");
  }
};

TEST_F(TargetsGaps, AContainerThatComesBackWhereItWasIsCapturedBeforeItsRuntimeAnswers) {
  auto targets = registry(std::chrono::hours(1));
  targets->start();
  const std::string path = ended_container(*targets);
  hung_podman();
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  EXPECT_EQ(backend_.next(), "attach 1 " + path + " s");
  EXPECT_TRUE(eventually([&] { return targets->find("web")->gaps == 1; }));
  EXPECT_LT(targets->find("web")->gap_total, std::chrono::seconds(5));
}

TEST_F(TargetsGaps, AnOpenOneIsCapturedOnceItHasAProcessThatTrustIsBoundFor) {
  std::mutex mutex;
  std::vector<pid_t> bound;
  bind_trust_ = [&](int pid) -> Result<std::unique_ptr<trust::Binding>> {
    const std::lock_guard lock(mutex);
    bound.push_back(pid);
    return fail(Code::NotFound, "nothing to mount");
  };
  auto targets = registry(std::chrono::hours(1));
  targets->start();
  const std::string path = cgroup("libpod-" + kId);
  const pid_t before = own_mounts_in(path);
  podman_says(running(kId, before));
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "web")));
  backend_.take();
  hung_podman();
  end(before);
  ::rmdir(path.c_str());
  ASSERT_TRUE(eventually([&] { return targets->find("web")->state == State::Waiting; }));
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  const pid_t after = own_mounts_in(path);
  EXPECT_EQ(backend_.next(), "attach 1 " + path + " s");
  const std::lock_guard lock(mutex);
  EXPECT_THAT(bound, testing::Contains(after)) << "before it was captured";
}

TEST_F(TargetsGaps, WhatItsRuntimeSaysAfterwardsCounts) {
  auto targets = registry();
  targets->start();
  const std::string path = ended_container(*targets);
  const std::string other = cgroup("libpod-" + std::string(64, 'd'));
  const pid_t pid = process_in(other);
  podman_says("exit 125");
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  ASSERT_TRUE(eventually([&] { return targets->find("web")->captured == path; }));
  podman_says(running(std::string(64, 'd'), pid));
  ASSERT_TRUE(eventually([&] { return targets->find("web")->captured == other; })) << "it asks until it knows";
  end(pid);
  EXPECT_TRUE(eventually([&] { return targets->find("web")->state == State::Waiting; })) << "its process is followed";
}

TEST_F(TargetsGaps, ACgroupThatIsMadeAgainAndGoesBeforeItIsCapturedIsAGap) {
  auto targets = registry(std::chrono::hours(1));
  targets->start();
  const std::string path = ended_container(*targets);
  backend_.refuse = true;
  hung_podman();
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  ASSERT_TRUE(eventually([&] { return backend_.refused > 0; }));
  ASSERT_EQ(::rmdir(path.c_str()), 0);
  EXPECT_TRUE(eventually([&] { return targets->find("web")->gaps == 1; }));
}

TEST_F(TargetsGaps, AContainerRenamedInPlaceGivesItsTargetToTheOneThatTakesItsName) {
  const std::string id(64, 'a');
  const std::string first = cgroup("libpod-" + id);
  podman_says(running(id, process_in(first)));
  auto targets = registry();
  targets->start();
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "web")));
  EXPECT_EQ(backend_.next(), "attach 1 " + first + " s");
  const std::string second = cgroup("libpod-" + std::string(64, 'b'));
  podman_says(running(std::string(64, 'b'), process_in(second)));
  cgroup("libpod-" + std::string(64, 'e'));  // any container's is the sign
  EXPECT_EQ(backend_.next(), "attach 1 " + second + " s");
  EXPECT_TRUE(eventually([&] { return targets->find("web")->gaps == 1; }));
}

TEST_F(TargetsGaps, ContainersThatSwapTheirNamesSwapTheirTargets) {
  const auto named = [](char id, const std::string& name, pid_t pid) {
    return R"({"Id":")" + std::string(64, id) + R"(","Name":")" + name + R"(","State":{"Status":"running","Pid":)" +
           std::to_string(pid) + "}}";
  };
  const std::string first = cgroup("libpod-" + std::string(64, 'a'));
  const std::string second = cgroup("libpod-" + std::string(64, 'b'));
  const pid_t one = process_in(first), other = process_in(second);
  auto targets = registry();
  targets->start();
  podman_says("echo '[" + named('a', "blue", one) + "]'");
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "blue")));
  podman_says("echo '[" + named('b', "green", other) + "]'");
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "green")));
  podman_says("echo '[" + named('a', "green", one) + "," + named('b', "blue", other) + "]'");
  cgroup("libpod-" + std::string(64, 'e'));  // any container's is the sign
  EXPECT_TRUE(eventually(
      [&] { return targets->find("blue")->captured == second && targets->find("green")->captured == first; }));
}

TEST_F(TargetsGaps, ACgroupThatNamesNoContainerIsLetGoWhenItsContainerStaysEnded) {
  auto targets = registry();
  targets->start();
  const std::string path = cgroup("service");  // podman with --cgroups=disabled
  const pid_t pid = process_in(path);
  podman_says(running(kId, pid));
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "web")));
  podman_says(R"(echo '[{"Id":")" + kId + R"(","Name":"web","State":{"Status":"exited","Pid":0}}]')");
  end(pid);
  ::rmdir(path.c_str());
  ASSERT_TRUE(eventually([&] { return targets->find("web")->state == State::Waiting; }));
  backend_.take();
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  EXPECT_EQ(backend_.next(), "attach 1 " + path + " s");
  EXPECT_EQ(backend_.next(), "detach 1") << "it is somebody else's";
  EXPECT_TRUE(eventually([&] { return targets->find("web")->detail.contains("exited"); }));
  EXPECT_EQ(targets->find("web")->state, State::Waiting);
  EXPECT_THAT(backend_.take(), testing::IsEmpty());
}

TEST_F(TargetsGaps, OneThatCannotBeCapturedIsNotLookedAtAllTheTime) {
  auto targets = registry(std::chrono::hours(1));
  targets->start();
  const std::string path = ended_container(*targets);
  backend_.refuse = true;
  hung_podman();
  backend_.waits = 1'000'000;  // one less with each look
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  ASSERT_TRUE(eventually([&] { return backend_.refused > 0; }));
  const int before = backend_.waits;
  // One a second, but for the first few and those that cgroups of other tests give rise to.
  EXPECT_FALSE(eventually(std::chrono::seconds(1), [&] { return backend_.waits < before - 40; }));
}

TEST_F(TargetsGaps, AContainerThatKeepsItsNameStaysAttachedWhenAnotherIsMade) {
  const std::string id(64, 'a');
  const std::string first = cgroup("libpod-" + id);
  const pid_t pid = process_in(first);
  podman_says(running(id, pid));
  auto targets = registry();
  targets->start();
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "web")));
  backend_.take();
  const std::string asked = directory_ / "asked";
  podman_says("echo x >>'" + asked + "'; echo 'no such container' >&2; exit 125");
  cgroup("libpod-" + std::string(64, 'e'));
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(asked); }));
  EXPECT_THAT(backend_.take(), testing::IsEmpty());
  EXPECT_EQ(targets->find("web")->state, State::Attached) << "renamed, and nobody has its name: what it was stays";
}

TEST_F(TargetsGaps, TheFirstStartOfATargetThatWasWaitedForIsAGap) {
  auto targets = registry(std::chrono::hours(1));
  podman_says("echo 'no such container' >&2; exit 125");
  ASSERT_TRUE(targets->start({wanted(TargetKind::Container, "web")}));
  const std::string path = cgroup("libpod-" + kId);
  podman_says(running(kId, process_in(path)));
  const std::string sign = std::filesystem::path(top_).parent_path() / ("libpod-" + std::string(64, 'f'));
  ASSERT_EQ(::mkdir(sign.c_str(), 0755), 0);
  EXPECT_TRUE(eventually([&] { return targets->find("web")->state == State::Attached; }));
  ::rmdir(sign.c_str());
  EXPECT_EQ(targets->find("web")->gaps, 1U);
}

TEST_F(TargetsGaps, AContainerThatEndsBeforeItsRuntimeSaysWhatItIsIsAGap) {
  auto targets = registry(std::chrono::hours(1));
  podman_says("echo 'no such container' >&2; exit 125");
  ASSERT_TRUE(targets->start({wanted(TargetKind::Container, "web"), wanted(TargetKind::Container, "other")}));
  podman_says(R"(echo '[{"Id":")" + kId + R"(","Name":"web","State":{"Status":"exited","Pid":0}},)" + R"({"Id":")" +
              std::string(64, '9') + R"(","Name":"other","State":{"Status":"exited","Pid":0}}]')");
  const std::string place = std::filesystem::path(top_).parent_path() / ("libpod-" + kId);
  ASSERT_EQ(::mkdir(place.c_str(), 0755), 0);
  ::rmdir(place.c_str());
  EXPECT_TRUE(eventually([&] { return targets->find("web")->gaps == 1; }));
  EXPECT_TRUE(eventually([&] { return targets->find("other")->detail.contains("exited"); }));
  EXPECT_EQ(targets->find("other")->gaps, 0U) << "it was another's cgroup";
}

TEST_F(TargetsGaps, WhatIsAttachedAsItIsAskedForIsNoGap) {
  auto targets = registry();
  const std::string path = cgroup("jobs");
  process_in(path);
  ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, path)}));
  EXPECT_EQ(targets->list().at(0).gaps, 0U) << "nobody had asked for it before";
}

TEST_F(TargetsGaps, AFailureToAttachIsAGapUntilItPasses) {
  const std::string path = cgroup("jobs");
  process_in(path);
  auto targets = registry();
  backend_.refuse = true;
  ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, path)}));
  backend_.refuse = false;
  ASSERT_TRUE(eventually([&] { return targets->list().at(0).state == State::Attached; }));
  EXPECT_EQ(targets->list().at(0).gaps, 1U);
}

// The daemon's end and its next start.
class TargetsOverARestart : public TargetsGaps {
 protected:
  void SetUp() override {
    TargetsGaps::SetUp();
    if (IsSkipped()) return;
    alive_ = directory_ / "alive";
    path_ = cgroup("jobs");
    process_in(path_);
    auto first = registry();
    ASSERT_TRUE(first->start({wanted(TargetKind::Cgroup, path_)}));
  }
  TargetStatus after_restart() {
    auto second = registry();
    second->start();
    return second->list().at(0);
  }
  std::string path_;
};

TEST_F(TargetsOverARestart, WhatRanMeanwhileIsAGapOfThatLengthAtMost) {
  std::vector<milliseconds> told;
  on_gap_ = [&](const TargetSettings&, milliseconds length) { told.push_back(length); };
  ASSERT_TRUE(std::filesystem::exists(alive_));
  const TargetStatus status = after_restart();
  EXPECT_EQ(status.gaps, 1U);
  EXPECT_THAT(told, testing::ElementsAre(status.gap_total));
  std::filesystem::last_write_time(alive_, std::filesystem::file_time_type::clock::now());
  EXPECT_LT(after_restart().gap_total, std::chrono::seconds(5));
}

TEST_F(TargetsOverARestart, AClosedOneThatWasRefusedMeanwhileHasNoGap) {
  backend_.closed = true;
  predecessor_refuses_ = true;
  std::filesystem::last_write_time(alive_, std::filesystem::file_time_type::clock::now());
  EXPECT_EQ(after_restart().gaps, 0U);
  predecessor_refuses_ = false;
  EXPECT_EQ(after_restart().gaps, 1U);
}

}  // namespace
}  // namespace tapdeck::app
