// What the registry asks podman and docker, when, and what it says of targets that are there and not captured.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <mutex>
#include <thread>

#include "daemon/app/targets_rig.h"
#include "daemon/base/eventually.h"
#include "daemon/base/log.h"

namespace tapdeck::app {
namespace {

using State = TargetStatus::State;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kAskedId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

class TargetsAsk : public Targets {
 protected:
  // Each line: what a tool was called with.
  [[nodiscard]] std::string note() const { return "echo \"$*\" >>'" + asked_file() + "'\n"; }
  [[nodiscard]] std::string asked_file() const { return directory_ / "asked"; }
  [[nodiscard]] std::vector<std::string> asked() const {
    std::vector<std::string> lines;
    std::ifstream in(asked_file());
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
};

TEST_F(TargetsAsk, OneQuestionIsForAllContainersThatAreWaitedFor) {
  auto targets = registry(std::chrono::hours(1));
  ASSERT_TRUE(registry()->start({wanted(TargetKind::Container, "a")}));  // kept
  podman_says(note() + "echo '[]'; echo 'no such container' >&2; exit 125");
  std::vector<TargetSettings> configured;
  for (const char* name : {"a", "b", "c"}) configured.push_back(wanted(TargetKind::Container, name));
  targets = registry(std::chrono::hours(1));
  ASSERT_TRUE(targets->start(configured));
  EXPECT_THAT(asked(), testing::ElementsAre("inspect --type container a b c")) << "before it is ready, too";
}

TEST_F(TargetsAsk, AContainerNobodyKnowsIsNotAskedAboutEverySoOften) {
  auto targets = registry(std::chrono::hours(1));
  podman_says(note() + "echo 'no such container' >&2; exit 125");
  ASSERT_TRUE(targets->start({wanted(TargetKind::Container, "web")}));
  const size_t before = asked().size();
  const std::string first = cgroup("jobs");
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, first)));
  ASSERT_EQ(::rmdir(first.c_str()), 0);
  cgroup("jobs");  // is no container's
  EXPECT_EQ(backend_.next(), "attach 2 " + first + " s") << "by hand";
  EXPECT_EQ(backend_.next(), "attach 2 " + first + " s") << "by itself";
  EXPECT_LE(asked().size(), before + 1);
}

TEST_F(TargetsAsk, AContainersCgroupThatIsMadeIsReasonToAskAtOnce) {
  auto targets = registry(std::chrono::hours(1));
  podman_says(note() + "echo 'no such container' >&2; exit 125");
  ASSERT_TRUE(targets->start({wanted(TargetKind::Container, "web")}));
  const std::string path = cgroup("libpod-" + kAskedId);
  podman_says(running(kAskedId, process_in(path)));
  const std::string sign = std::filesystem::path(top_).parent_path() / ("libpod-" + std::string(64, 'f'));
  ASSERT_EQ(::mkdir(sign.c_str(), 0755), 0);
  EXPECT_EQ(backend_.next(), "attach 1 " + path + " s");
  ::rmdir(sign.c_str());
}

TEST_F(TargetsAsk, ARuntimeThatHangsHoldsUpNoCgroupAndNoEnd) {
  auto targets = registry();
  const std::string path = cgroup("jobs");
  tool_says("docker", "echo 'no such container' >&2; exit 1");
  ASSERT_TRUE(targets->start({wanted(TargetKind::Container, "web"), wanted(TargetKind::Cgroup, path)}));
  backend_.take();
  tool_says("docker", note() + "exec /bin/sleep 1000");
  ASSERT_TRUE(eventually([&] { return !asked().empty(); }));
  ASSERT_EQ(::rmdir(path.c_str()), 0);
  cgroup("jobs");
  EXPECT_EQ(backend_.next(), "attach 2 " + path + " s");
  targets->stop();  // ends though the question has ten minutes
}

// What was written to the log meanwhile.
class LogPipe {
 public:
  LogPipe() {
    EXPECT_EQ(::pipe2(ends_, O_NONBLOCK | O_CLOEXEC), 0);
    log::configure({.fd = ends_[1]});
  }
  ~LogPipe() {
    log::configure({});
    for (const int end : ends_) ::close(end);
  }
  LogPipe(const LogPipe&) = delete;
  LogPipe& operator=(const LogPipe&) = delete;
  const std::string& text() {
    char buffer[65536];
    const ssize_t n = ::read(ends_[0], buffer, sizeof buffer);
    if (n > 0) text_.append(buffer, static_cast<size_t>(n));
    return text_;
  }
  size_t count(const std::string& word) {
    const std::string& all = text();
    size_t found = 0;
    for (size_t at = 0; (at = all.find(word, at)) != std::string::npos; ++at) ++found;
    return found;
  }

 private:
  int ends_[2] = {-1, -1};
  std::string text_;
};

TEST_F(TargetsAsk, AKeptTargetThatCannotBeAttachedIsSaidOnceAndWhileItLasts) {
  TargetSettings settings = wanted(TargetKind::Cgroup, cgroup("jobs"));
  settings.sealed = true;
  ASSERT_TRUE(registry()->attach(settings));
  LogPipe log;
  backend_.refuse = true;
  auto targets = registry();
  EXPECT_THAT(targets->uncaptured_problem(), IsEmpty());
  targets->start();
  EXPECT_EQ(log.count("target.not_attached"), 1U);
  EXPECT_THAT(targets->uncaptured_problem(), HasSubstr("no CAP_BPF"));
  EXPECT_TRUE(targets->list().at(0).passes);
  ASSERT_TRUE(eventually([&] { return backend_.refused > 4; }));
  EXPECT_EQ(log.count("target.not_attached"), 1U);
  backend_.refuse = false;
  ASSERT_TRUE(eventually([&] { return targets->list().at(0).state == State::Attached; }));
  EXPECT_THAT(targets->uncaptured_problem(), IsEmpty());
  EXPECT_FALSE(targets->list().at(0).passes);
}

TEST_F(TargetsAsk, OfOneThatAnotherTapdeckHasItIsNotSaidThatItPasses) {
  ASSERT_TRUE(registry()->attach(wanted(TargetKind::Cgroup, cgroup("jobs"))));
  LogPipe log;
  backend_.refuse_as = Code::Busy;
  backend_.refuse = true;
  registry()->start();
  const std::string text = log.text();
  EXPECT_THAT(text, HasSubstr("what a dead one had closed is refused until 'tapdeck clean'"));
  EXPECT_THAT(text, testing::Not(HasSubstr("what it does passes")));
}

TEST_F(TargetsAsk, AnOpenTargetThatCannotBeAttachedMakesNothingUnready) {
  ASSERT_TRUE(registry()->attach(wanted(TargetKind::Cgroup, cgroup("jobs"))));
  backend_.refuse = true;
  auto targets = registry();
  targets->start();
  EXPECT_TRUE(targets->list().at(0).passes);
  EXPECT_THAT(targets->uncaptured_problem(), IsEmpty());
}

TEST_F(TargetsAsk, AWaitingTargetThatIsRefusedByHandIsTriedAgain) {
  auto targets = registry();
  TargetSettings settings = wanted(TargetKind::Cgroup, top_ + "/later");
  settings.sealed = true;
  ASSERT_TRUE(targets->start({settings}));
  backend_.refuse = true;
  cgroup("later");
  const auto refused = targets->attach(settings);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::Permission);
  EXPECT_TRUE(targets->list().at(0).passes);
  EXPECT_THAT(targets->uncaptured_problem(), HasSubstr("no CAP_BPF"));
  backend_.refuse = false;
  EXPECT_TRUE(eventually([&] { return targets->list().at(0).state == State::Attached; }));
}

TEST_F(TargetsAsk, AKeptPidThatCannotBeAttachedIsTriedAgainWhileItLives) {
  const pid_t pid = process_in(cgroup("jobs"));
  TargetSettings settings = wanted(TargetKind::Pid, std::to_string(pid));
  settings.sealed = true;
  ASSERT_TRUE(registry()->attach(settings));
  backend_.refuse = true;
  auto targets = registry();
  targets->start();
  EXPECT_EQ(targets->list().at(0).state, State::Waiting);
  EXPECT_THAT(targets->uncaptured_problem(), HasSubstr("no CAP_BPF"));
  backend_.refuse = false;
  ASSERT_TRUE(eventually([&] { return targets->list().at(0).state == State::Attached; }));
  end(pid);
  EXPECT_TRUE(eventually([&] { return targets->list().at(0).state == State::Failed; }));
  EXPECT_THAT(targets->list().at(0).detail, HasSubstr("ended"));
}

TEST_F(TargetsAsk, AConfiguredTargetThatIsRefusedNowIsTriedAgain) {
  const TargetSettings settings = wanted(TargetKind::Cgroup, cgroup("jobs"));
  backend_.refuse = true;
  backend_.refuse_as = Code::InvalidArgument;
  EXPECT_FALSE(registry()->start({settings})) << "nothing that passes by itself";
  EXPECT_THAT(registry()->list(), IsEmpty());
  backend_.refuse_as = Code::Busy;
  const auto waiting = registry();
  ASSERT_TRUE(waiting->start({settings}));
  EXPECT_EQ(waiting->list().at(0).state, State::Waiting);
  EXPECT_TRUE(waiting->list().at(0).passes);
  waiting->stop();
  auto targets = registry();
  ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, settings.spec.name, "other")}));
  EXPECT_EQ(targets->list().at(0).settings.session, "other");
  backend_.refuse = false;
  EXPECT_TRUE(eventually([&] { return targets->list().at(0).state == State::Attached; }));
}

TEST_F(TargetsAsk, AClosedContainerWhoseRuntimeDoesNotAnswerIsAProblemUntilItDoes) {
  deadline_ = std::chrono::milliseconds(500);
  auto targets = registry();
  TargetSettings settings = wanted(TargetKind::Container, "web");
  settings.sealed = true;
  tool_says("docker", "exec /bin/sleep 1000");
  ASSERT_TRUE(targets->start({settings}));
  EXPECT_EQ(targets->list().at(0).state, State::Waiting);
  EXPECT_THAT(targets->uncaptured_problem(), HasSubstr("may run"));
  EXPECT_TRUE(backend_.keeps);
  tool_says("docker", "echo 'no such container' >&2; exit 1");
  const std::string sign = std::filesystem::path(top_).parent_path() / ("libpod-" + std::string(64, 'e'));
  EXPECT_TRUE(eventually([&] {  // each time one is made it is asked, though it is left out for a minute else
    ::mkdir(sign.c_str(), 0755);
    ::rmdir(sign.c_str());
    return targets->uncaptured_problem().empty();
  }));
  EXPECT_FALSE(backend_.keeps);
}

TEST_F(TargetsAsk, AnAttachByHandEndsWithTheRegistryAndNoneComesAfterIt) {
  auto targets = registry();
  podman_says(note() + "exec /bin/sleep 1000");
  targets->start();
  auto attached = std::async(std::launch::async, [&] { return targets->attach(wanted(TargetKind::Container, "web")); });
  ASSERT_TRUE(eventually([&] { return !asked().empty(); }));
  targets->stop();
  EXPECT_EQ(attached.get().error().code, Code::Cancelled);
  EXPECT_EQ(targets->attach(wanted(TargetKind::Cgroup, cgroup("jobs"))).error().code, Code::Cancelled);
}

TEST_F(TargetsAsk, OneOfTheConfigurationMayBeDetachedWhileItIsFirstAskedAbout) {
  const std::string go = directory_ / "go";
  podman_says(note() + "while [ ! -e '" + go + "' ]; do /bin/sleep 0.01; done; echo 'no such container' >&2; exit 125");
  auto targets = registry();
  auto started = std::async(std::launch::async, [&] { return targets->start({wanted(TargetKind::Container, "web")}); });
  EXPECT_TRUE(eventually([&] { return !asked().empty(); }));
  EXPECT_TRUE(targets->detach("web"));
  std::ofstream(go) << "";
  EXPECT_TRUE(started.get());
  EXPECT_THAT(targets->list(), IsEmpty());
}

TEST_F(TargetsAsk, WhatTheBackendLooksAtAgainHoldsUpNobody) {
  std::promise<void> looked, go;
  std::once_flag once;
  backend_.when_looked_at = [&] {
    std::call_once(once, [&] {
      looked.set_value();
      go.get_future().wait();
    });
  };
  auto targets = registry();
  targets->start();
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, cgroup("jobs"))));
  looked.get_future().wait();
  auto list = std::async(std::launch::async, [&] { return targets->list().size(); });
  EXPECT_EQ(list.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  go.set_value();
}

TEST_F(TargetsAsk, OtherDefaultsMakeAnUncapturedTargetAProblem) {
  auto targets = registry();
  backend_.refuse = true;
  ASSERT_TRUE(targets->start({wanted(TargetKind::Cgroup, cgroup("jobs"))}));
  EXPECT_THAT(targets->uncaptured_problem(), IsEmpty());
  backend_.closed = true;
  targets->defaults_changed();
  EXPECT_THAT(targets->uncaptured_problem(), HasSubstr("no CAP_BPF"));
}

}  // namespace
}  // namespace tapdeck::app
