// A `tapdeck run` that is killed: its command and all descendants end with it, and whoever comes next ends those whom
// nobody ended, before it opens the network to them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <optional>
#include <sstream>

#include "daemon/base/processes.h"
#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

std::vector<pid_t> numbers(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<pid_t>(in), {}};
}

// The tests that differ by nothing but the flags of the run.
class Killed : public ::testing::TestWithParam<std::vector<std::string>> {
 protected:
  ProcessOptions tapdeck(std::vector<std::string> argv) {
    argv.insert(argv.begin(), tapdeck_binary());
    return seated({.lab = lab_}, argv);
  }
  // Starts a run of this command, which says "ready" and the pids it is about on one line.
  void start(std::vector<std::string> flags, const std::vector<std::string>& command) {
    std::vector<std::string> argv = {"run", "--state-dir", state()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    argv.push_back("--");
    argv.insert(argv.end(), command.begin(), command.end());
    run_.emplace(tapdeck(argv));
    ASSERT_TRUE(eventually(15s, [&] { return run_->out().ends_with("\n"); })) << run_->err();
    family_ = numbers(run_->out());
    ASSERT_FALSE(family_.empty()) << run_->out();
    guard_ = find_guard();
    EXPECT_GT(guard_, 0);
  }
  [[nodiscard]] pid_t find_guard() const {
    const std::string pid = std::to_string(run_->pid());
    for (const pid_t child : numbers(read_file("/proc/" + pid + "/task/" + pid + "/children"))) {
      if (read_file("/proc/" + std::to_string(child) + "/comm") == "tapdeck-guard\n") return child;
    }
    return 0;
  }
  // Of pid 0 all of the test's own processes would get it.
  void signal_guard(int number) const {
    if (guard_ > 0) ::kill(guard_, number);
  }
  void kill_run() {
    run_->signal(SIGKILL);
    ASSERT_EQ(run_->wait(10s), 128 + SIGKILL);
  }
  void kill_guard_and_run() {
    signal_guard(SIGKILL);
    kill_run();
    ASSERT_TRUE(any_alive()) << "nothing to be ended by the next";
  }
  [[nodiscard]] bool any_alive() const { return std::ranges::any_of(family_, is_alive); }
  [[nodiscard]] std::string state() const { return lab_.directory() / "run-state"; }

  Topology lab_;
  std::optional<Process> run_;
  std::vector<pid_t> family_;
  pid_t guard_ = 0;  // 0: none
};
INSTANTIATE_TEST_SUITE_P(All, Killed,
                         ::testing::Values(std::vector<std::string>{}, std::vector<std::string>{"--sealed"}),
                         [](const auto& info) { return info.param.empty() ? "Open" : "Sealed"; });

// Children in the background, in another session, deaf to signals.
const std::vector<std::string> kFamily = {
    "sh", "-c", "trap '' HUP TERM INT; sleep 1000 & a=$!; setsid sh -c 'sleep 1000; sleep 1000' & echo $a $! $$; wait"};

TEST_P(Killed, AllDescendantsEndWithItAndSoDoesTheGuard) {
  start(GetParam(), kFamily);
  EXPECT_EQ(family_.size(), 3U);
  kill_run();
  EXPECT_TRUE(eventually(10s, [&] { return !any_alive(); }));
  EXPECT_TRUE(eventually(10s, [&] { return !is_alive(guard_); }));
}

TEST_P(Killed, ACommandThatChangedItsCredentialsEndsWithIt) {
  start(GetParam(),
        {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", "echo $$; exec sleep 1000"});
  kill_run();
  EXPECT_TRUE(eventually(10s, [&] { return !any_alive(); }));
}

TEST_P(Killed, WithItsGuardTheNextRunEndsThemAndSaysHowMany) {
  start(GetParam(), kFamily);
  kill_guard_and_run();
  const auto next = run_to_end(tapdeck({"run", "--state-dir", state(), "--", "true"}));
  EXPECT_EQ(next.status, 0) << next.err;
  EXPECT_FALSE(any_alive());
  EXPECT_THAT(next.err, HasSubstr("run.survivors_killed"));
}

TEST_P(Killed, WithItsGuardCleanEndsThem) {
  start(GetParam(), kFamily);
  kill_guard_and_run();
  const auto clean = run_to_end(tapdeck({"clean", "--state-dir", state()}));
  EXPECT_EQ(clean.status, 0) << clean.err;
  EXPECT_FALSE(any_alive());
  EXPECT_THAT(clean.err, HasSubstr("run.survivors_killed"));
}

TEST_P(Killed, WithItsGuardWhoeverCleansFromAnotherCgroupFindsThemToo) {
  {
    Cgroup elsewhere("elsewhere");
    std::vector<std::string> argv = {"run", "--state-dir", state()};
    argv.insert(argv.end(), GetParam().begin(), GetParam().end());
    argv.push_back("--");
    argv.insert(argv.end(), kFamily.begin(), kFamily.end());
    auto options = tapdeck(argv);
    options.cgroup = &elsewhere;
    run_.emplace(options);
    ASSERT_TRUE(eventually(15s, [&] { return run_->out().ends_with("\n"); })) << run_->err();
    family_ = numbers(run_->out());
    guard_ = find_guard();
    kill_guard_and_run();
    const auto clean = run_to_end(tapdeck({"clean", "--state-dir", state()}));
    EXPECT_EQ(clean.status, 0) << clean.err;
    EXPECT_FALSE(any_alive());
  }
}

class KilledOpenRun : public Killed {};

TEST_F(KilledOpenRun, NobodyConnectsPastItBeforeTheGuardHasEndedThem) {
  std::atomic<int> connections = 0;
  ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [&](Peer&) { ++connections; });
  const auto config = lab_.directory() / "run.toml";
  write_file(config, "[capture]\nlease_ms = 60000\n");
  const auto flag = (lab_.directory() / "killed").string();
  const auto said = (lab_.directory() / "said").string();
  const std::string script = "until [ -e " + flag + " ]; do sleep 0.01; done; curl -s --max-time 5 http://" +
                             std::string(kOriginV4) + "/; echo $? >" + said + "; exec sleep 1000";
  start({"--config", config}, {"sh", "-c", "(" + script + ") & echo $!; wait"});
  signal_guard(SIGSTOP);  // time stands still between the death of the run and the guard's answer to it
  kill_run();
  write_file(flag, "");
  ASSERT_TRUE(eventually(10s, [&] { return std::filesystem::exists(said) && !read_file(said).empty(); }));
  EXPECT_EQ(read_file(said), "7\n") << "curl: could not connect";
  EXPECT_EQ(connections, 0);
  EXPECT_TRUE(any_alive());
  signal_guard(SIGCONT);
  EXPECT_TRUE(eventually(10s, [&] { return !any_alive(); }));
}

TEST_F(KilledOpenRun, AnOrderlyEndLeavesNoGuard) {
  start({}, {"sh", "-c", "trap 'exit 0' TERM; echo $$; while :; do sleep 0.01; done"});
  run_->signal(SIGTERM);
  EXPECT_EQ(run_->wait(10s), 0);
  EXPECT_FALSE(is_alive(guard_));
}

}  // namespace
}  // namespace tapdeck::lab
