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
  // However it ended, `clean` leaves nothing of it.
  void TearDown() override {
    if (!run_) return;
    const auto clean = run_to_end(tapdeck({"clean", "--state-dir", state()}));
    EXPECT_EQ(clean.status, 0) << clean.err;
    EXPECT_FALSE(any_alive());
    EXPECT_EQ(left_of_run(), "");
  }
  // Its cgroups, its records and its pins.
  [[nodiscard]] std::string left_of_run() const {
    const std::string pid = std::to_string(run_->pid());
    std::string left = run_to_end({"find", cgroup2_mount().string(), "-name", "tapdeck-run-" + pid + "-*"}).out;
    for (const auto* name : {"capture-", "run-"}) {
      const std::string directory = "/run/tapdeck/" + (name + pid);
      if (std::filesystem::exists(directory)) left += directory + "\n";
    }
    if (!pins_.empty() && std::filesystem::exists(pins_)) left += pins_ + "\n";
    return left;
  }
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
    know();
  }
  void know() {
    family_ = numbers(run_->out());
    ASSERT_FALSE(family_.empty()) << run_->out();
    guard_ = guard_of(*run_);
    EXPECT_GT(guard_, 0);
    pins_ = read_file("/run/tapdeck/capture-" + std::to_string(run_->pid()) + "/kernel/pins");
    while (pins_.ends_with('\n')) pins_.pop_back();
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
    kill_with_its_guard(*run_);
    ASSERT_TRUE(any_alive()) << "nothing to be ended by the next";
  }
  [[nodiscard]] bool any_alive() const { return std::ranges::any_of(family_, is_alive); }
  [[nodiscard]] std::string state() const { return lab_.directory() / "run-state"; }

  Topology lab_;
  std::optional<Process> run_;
  std::vector<pid_t> family_;
  pid_t guard_ = 0;   // 0: none
  std::string pins_;  // their directory; empty: none
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
    know();
    kill_guard_and_run();
    const auto clean = run_to_end(tapdeck({"clean", "--state-dir", state()}));
    EXPECT_EQ(clean.status, 0) << clean.err;
    EXPECT_FALSE(any_alive());
  }
}

// As in the service's sandbox: cgroups are read-only there, and only root's processes can be killed.
std::vector<std::string> sandboxed(const std::vector<std::string>& argv) {
  std::vector<std::string> out = {
      "unshare", "-m", "sh", "-c",
      "mount -o remount,ro,bind " + cgroup2_mount().string() + " && exec setpriv --bounding-set -kill \"$0\" \"$@\""};
  out.insert(out.end(), argv.begin(), argv.end());
  return out;
}

TEST_P(Killed, AReadOnlyCgroupThatNobodyLivesInKeepsNothingInTheKernel) {
  start(GetParam(), kFamily);
  kill_guard_and_run();
  for (const pid_t pid : family_) ::kill(pid, SIGKILL);
  ASSERT_TRUE(eventually(10s, [&] { return !any_alive(); }));
  const auto clean = run_to_end(seated({.lab = lab_}, sandboxed({tapdeck_binary(), "clean", "--state-dir", state()})));
  EXPECT_EQ(clean.status, 0) << clean.err;
  EXPECT_FALSE(std::filesystem::exists("/run/tapdeck/capture-" + std::to_string(run_->pid()))) << clean.err;
  EXPECT_TRUE(pins_.empty() || !std::filesystem::exists(pins_));
}

TEST_P(Killed, WhomTheServiceCannotKillStaysCapturedAndItSaysWhoCan) {
  start(GetParam(),
        {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", "echo $$; exec sleep 1000"});
  kill_guard_and_run();
  const auto clean = run_to_end(seated({.lab = lab_}, sandboxed({tapdeck_binary(), "clean", "--state-dir", state()})));
  EXPECT_THAT(clean.err, HasSubstr("sudo tapdeck clean"));
  EXPECT_TRUE(any_alive());
  EXPECT_TRUE(std::filesystem::exists("/run/tapdeck/capture-" + std::to_string(run_->pid())));
  EXPECT_TRUE(pins_.empty() || std::filesystem::exists(pins_));
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

// What we open must not become standard descriptors, or what we log goes into it; the command gets them as we did.
TEST_F(KilledOpenRun, ACommandLivesWhoseStandardDescriptorsAreClosed) {
  const auto said = lab_.directory() / "said";
  for (int closed = 1; closed < 8; ++closed) {
    std::string run =
        "exec \"$0\" run --state-dir \"$1\" -- sh -c 'a=; for f in 0 1 2; do [ -e /proc/$$/fd/$f ] && a=$a$f; done; "
        "echo \"$a\" > \"$1\"; exit 5' sh \"$2\"";
    std::string open;
    for (const int fd : {0, 1, 2}) {
      const bool is_closed = (closed & (1 << fd)) != 0;
      (is_closed ? run : open) += is_closed ? " " + std::to_string(fd) + "<&-" : std::to_string(fd);
    }
    const auto ended = run_to_end(seated({.lab = lab_}, {"sh", "-c", run, tapdeck_binary(), state(), said.string()}));
    EXPECT_EQ(ended.status, 5) << run << ended.err;
    EXPECT_EQ(read_file(said), open + "\n") << run;
    std::filesystem::remove(said);
  }
}

TEST_F(KilledOpenRun, AnOrderlyEndLeavesNoGuard) {
  start({}, {"sh", "-c", "trap 'exit 0' TERM; echo $$; while :; do sleep 0.01; done"});
  run_->signal(SIGTERM);
  EXPECT_EQ(run_->wait(10s), 0);
  EXPECT_FALSE(is_alive(guard_));
}

}  // namespace
}  // namespace tapdeck::lab
