// What the registry asks podman and docker, when, and what it says of targets that are there and not captured.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "daemon/app/targets_rig.h"
#include "daemon/base/log.h"

namespace tapdeck::app {
namespace {

using State = TargetStatus::State;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

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
  template <class Condition>
  static bool eventually(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::yield();
    }
    return true;
  }
};

TEST_F(TargetsAsk, OneQuestionIsForAllContainersThatAreWaitedFor) {
  auto targets = registry(std::chrono::hours(1));
  podman_says("echo 'no such container' >&2; exit 125");
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, name), IfMissing::Wait));
  }
  podman_says(note() + "echo '[]'; echo 'no such container' >&2; exit 125");
  targets->start();
  ASSERT_TRUE(eventually([&] { return !asked().empty(); }));
  EXPECT_EQ(asked().front(), "inspect --type container a b c");
}

TEST_F(TargetsAsk, AContainerNobodyKnowsIsNotAskedAboutEverySoOften) {
  auto targets = registry(std::chrono::hours(1));
  podman_says(note() + "echo 'no such container' >&2; exit 125");
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "web"), IfMissing::Wait));
  targets->start();
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
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "web"), IfMissing::Wait));
  targets->start();
  const std::string path = cgroup("libpod-" + kId);
  podman_says(running(kId, process_in(path)));
  const std::string sign = std::filesystem::path(top_).parent_path() / ("libpod-" + std::string(64, 'f'));
  ASSERT_EQ(::mkdir(sign.c_str(), 0755), 0);
  EXPECT_EQ(backend_.next(), "attach 1 " + path + " s");
  ::rmdir(sign.c_str());
}

TEST_F(TargetsAsk, ARuntimeThatHangsHoldsUpNoCgroupAndNoEnd) {
  auto targets = registry();
  const std::string path = cgroup("jobs");
  tool_says("docker", "echo 'no such container' >&2; exit 1");
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Container, "web"), IfMissing::Wait));
  ASSERT_TRUE(targets->attach(wanted(TargetKind::Cgroup, path)));
  targets->start();
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
  size_t count(const std::string& word) {
    char buffer[65536];
    const ssize_t n = ::read(ends_[0], buffer, sizeof buffer);
    if (n > 0) text_.append(buffer, static_cast<size_t>(n));
    size_t found = 0;
    for (size_t at = 0; (at = text_.find(word, at)) != std::string::npos; ++at) ++found;
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

TEST_F(TargetsAsk, AnOpenTargetThatCannotBeAttachedMakesNothingUnready) {
  ASSERT_TRUE(registry()->attach(wanted(TargetKind::Cgroup, cgroup("jobs"))));
  backend_.refuse = true;
  auto targets = registry();
  targets->start();
  EXPECT_TRUE(targets->list().at(0).passes);
  EXPECT_THAT(targets->uncaptured_problem(), IsEmpty());
}

}  // namespace
}  // namespace tapdeck::app
