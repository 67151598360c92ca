// Nothing of ours stays behind: programs, filters, routes, rules, mounts and cgroups are compared before and after.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <sstream>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

// Without the routes of link-local addresses, which the kernel adds by itself a second after a link is up.
std::string without_link_local(const std::string& text) {
  std::istringstream lines(text);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("fe80::") == std::string::npos && line.find("ff00::") == std::string::npos) kept += line + "\n";
  }
  return kept;
}

// Trust stores of the process that something is mounted over.
std::string trust_mounts(const Process& process) {
  std::istringstream lines(read_file("/proc/" + std::to_string(process.pid()) + "/mountinfo"));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("ssl") != std::string::npos || line.find("cert") != std::string::npos) kept += line + "\n";
  }
  return kept;
}

// Everything the kernel holds that the daemon could have made.
std::string kernel_state(const Topology& lab, const Process& resident) {
  std::string all;
  for (const auto* command : {"rule show", "-6 rule show", "route show table all", "-6 route show table all"}) {
    all += std::string(command) + "\n" + without_link_local(lab.gw().ip_output(command));
  }
  for (const auto* interface : {kClientSide, "to-origin", "lo"}) {
    const std::string name = interface;
    all += run_to_end({.argv = {"tc", "qdisc", "show", "dev", name}, .netns = &lab.gw()}).out;
    all += run_to_end({.argv = {"tc", "filter", "show", "dev", name, "ingress"}, .netns = &lab.gw()}).out;
  }
  all += run_to_end({"sh", "-c", "bpftool prog show | grep -oE 'name tapdeck_[a-z0-9_]*' || true"}).out;
  all += run_to_end(
             {"sh", "-c",
              "bpftool map show | grep -oE 'name (netns_listeners|own_listeners|tc_listeners|netns_asked)' || true"})
             .out;
  all += run_to_end({"sh", "-c", "grep -E 'tapdeck|td-lab' /proc/self/mounts || true"}).out;
  all += run_to_end({"find", cgroup2_mount().string(), "-maxdepth", "2", "-name", "*tapdeck*"}).out;
  all += trust_mounts(resident);
  return all;
}

// Programs on our cgroup, on top of kernel_state().
std::string programs_on(const Cgroup& cgroup) {
  return run_to_end({"bpftool", "cgroup", "show", cgroup.path().string()}).out;
}

class Leftovers : public ::testing::Test {
 protected:
  Leftovers() {
    const std::filesystem::path ours = std::filesystem::read_symlink("/proc/self/ns/mnt");
    const std::string theirs = "/proc/" + std::to_string(resident_.pid()) + "/ns/mnt";
    EXPECT_TRUE(eventually(5s, [&] { return std::filesystem::read_symlink(theirs) != ours; }));
    before_ = kernel_state(lab_, resident_);
    trust_before_ = trust_mounts(resident_);
  }

  void attach_both(DaemonProcess& daemon, const std::vector<std::string>& more) {
    daemon.attach_cgroup(cgroup_, more);
    daemon.attach_interface(kClientSide, more);
    ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
    EXPECT_EQ(raw_tcp({.lab = lab_, .cgroup = &cgroup_}, kOriginV4, 80, get_request("/")).status, 0);
    EXPECT_EQ(raw_tcp({.lab = lab_}, kOriginV6, 80, get_request("/")).status, 0);
    EXPECT_NE(kernel_state(lab_, resident_), before_);
    EXPECT_TRUE(eventually(5s, [&] { return trust_mounts(resident_) != trust_before_; }))
        << "there is a mount to be left";
  }
  // Ended programs are freed by the kernel a moment later.
  void expect_as_before() {
    EXPECT_TRUE(
        eventually(5s, [&] { return kernel_state(lab_, resident_) == before_ && programs_on(cgroup_).empty(); }))
        << "before:\n"
        << before_ << "\nafter:\n"
        << kernel_state(lab_, resident_) << programs_on(cgroup_);
  }

  Topology lab_;
  Cgroup cgroup_{"client"};
  // In a mount namespace of its own, as in a container: trust is not bound in the host's.
  Process resident_{{.argv = {"unshare", "-m", "--propagation", "private", "sleep", "infinity"},
                     .netns = &lab_.client(),
                     .cgroup = &cgroup_}};
  std::string before_, trust_before_;
};

TEST_F(Leftovers, AnOrderlyStopLeavesNothing) {
  DaemonProcess daemon(lab_);
  attach_both(daemon, {});
  EXPECT_EQ(daemon.stop(), 0);
  expect_as_before();
}

TEST_F(Leftovers, DetachLeavesNothingWhileTheDaemonRuns) {
  DaemonProcess daemon(lab_);
  const auto cgroup = daemon.attach_cgroup(cgroup_);
  EXPECT_NE(programs_on(cgroup_), "");
  EXPECT_NE(trust_mounts(resident_), "");
  daemon.must_cli({"detach", cgroup});
  EXPECT_EQ(programs_on(cgroup_), "");
  EXPECT_EQ(trust_mounts(resident_), "");
  const auto interface = daemon.attach_interface(kClientSide);
  daemon.must_cli({"detach", interface});
  EXPECT_EQ(run_to_end({.argv = {"tc", "filter", "show", "dev", kClientSide, "ingress"}, .netns = &lab_.gw()}).out, "");
}

TEST_F(Leftovers, TheNextStartAfterACrashRemovesWhatFailClosedTargetsLeft) {
  DaemonOptions options;
  options.sections["capture"] = "on_lease = \"closed\"\n";
  DaemonProcess daemon(lab_, options);
  attach_both(daemon, {});
  daemon.kill();
  daemon.start();
  EXPECT_EQ(daemon.stop(), 0);
  EXPECT_THAT(daemon.log(), ::testing::Not(::testing::HasSubstr("libbpf")));
  // Stopped in an orderly way with closed targets kept: they may go on refusing, until they are detached.
  daemon.start();
  daemon.must_cli({"detach", cgroup_.path().string()});
  daemon.must_cli({"detach", kClientSide});
  EXPECT_EQ(daemon.stop(), 0);
  expect_as_before();
}

TEST_F(Leftovers, CleanSaysWhetherAnythingWasRefused) {
  for (const bool sealed : {false, true}) {
    DaemonProcess daemon(lab_);
    attach_both(daemon, {});
    if (sealed) daemon.attach_interface(kClientSide, {"--sealed"});
    daemon.kill();
    const auto cleaned = daemon.cli({"clean"});
    EXPECT_EQ(cleaned.status, 0);
    EXPECT_EQ(cleaned.err, "");
    EXPECT_THAT(cleaned.out, ::testing::HasSubstr(sealed ? "what refused the connections of a dead daemon's closed"
                                                         : "a dead daemon's records and what they named"));
    expect_as_before();
  }
}

TEST_F(Leftovers, TheNextRunRemovesWhatAKilledOneLeft) {
  const auto command = [&](const std::string& script) {
    return seated({.lab = lab_}, {tapdeck_binary(), "run", "--sealed", "--state-dir", lab_.directory() / "run-state",
                                  "--", "sh", "-c", script});
  };
  {
    Process killed(command("echo ready; sleep infinity"));
    ASSERT_TRUE(eventually(15s, [&] { return killed.out() == "ready\n"; })) << killed.err();
    EXPECT_NE(kernel_state(lab_, resident_), before_);
    kill_with_its_guard(killed);
  }
  EXPECT_EQ(run_to_end(command("true")).status, 0);
  expect_as_before();
}

TEST_F(Leftovers, CleanRemovesWhatAKilledRunLeft) {
  const auto state = lab_.directory() / "run-state";
  {
    Process killed(seated({.lab = lab_}, {tapdeck_binary(), "run", "--sealed", "--state-dir", state, "--", "sh", "-c",
                                          "echo ready; sleep infinity"}));
    ASSERT_TRUE(eventually(15s, [&] { return killed.out() == "ready\n"; })) << killed.err();
    kill_with_its_guard(killed);
  }
  EXPECT_NE(kernel_state(lab_, resident_), before_);
  // What the command itself became ends a moment later, and its cgroup can go only then.
  EXPECT_TRUE(eventually(10s, [&] {
    EXPECT_EQ(run_to_end(seated({.lab = lab_}, {tapdeck_binary(), "clean", "--state-dir", state})).status, 0);
    return kernel_state(lab_, resident_) == before_;
  })) << kernel_state(lab_, resident_);
}

TEST_F(Leftovers, CleanInAnotherProcessNamespaceLeavesARunThatLivesAlone) {
  const auto state = lab_.directory() / "run-state";
  const std::string run_dir = (lab_.directory() / "run").string();
  const auto tapdeck = [&](std::vector<std::string> before, const std::vector<std::string>& more) {
    before.insert(before.end(), {"env", "RUNTIME_DIRECTORY=" + run_dir, tapdeck_binary()});
    before.insert(before.end(), more.begin(), more.end());
    return seated({.lab = lab_}, before);
  };
  Process alive(tapdeck({}, {"run", "--state-dir", state, "--", "sh", "-c", "echo ready; sleep infinity"}));
  ASSERT_TRUE(eventually(15s, [&] { return alive.out() == "ready\n"; })) << alive.err();
  const auto files = [&] { return run_to_end({"find", run_dir, "-mindepth", "1", "-maxdepth", "2"}).out; };
  const std::string before = files();
  EXPECT_THAT(before, ::testing::HasSubstr("/run-"));
  EXPECT_THAT(before, ::testing::HasSubstr("/capture-"));
  const auto cleaned =
      run_to_end(tapdeck({"unshare", "--pid", "--fork", "--mount-proc"}, {"clean", "--state-dir", state}));
  EXPECT_EQ(cleaned.status, 0) << cleaned.err;
  EXPECT_EQ(files(), before);
  alive.signal(SIGTERM);
  ASSERT_TRUE(alive.wait(10s));
}

TEST_F(Leftovers, CleanInAnotherNetworkNamespaceSaysWhereToGoAndKeepsTheRecords) {
  DaemonOptions options;
  options.sections["capture"] = "on_lease = \"closed\"\n";
  DaemonProcess daemon(lab_, options);
  daemon.attach_interface(kClientSide);
  daemon.kill();
  const std::vector<std::string> clean = {tapdeck_binary(), "clean", "--config", daemon.config()};
  const auto elsewhere = run_to_end({.argv = clean, .netns = &lab_.origin()});
  EXPECT_EQ(elsewhere.status, 1) << elsewhere.out;
  EXPECT_THAT(elsewhere.err, ::testing::HasSubstr("nsenter --net="));
  EXPECT_NE(kernel_state(lab_, resident_), before_);
  EXPECT_EQ(run_to_end({.argv = clean, .netns = &lab_.gw()}).status, 0);
  EXPECT_TRUE(eventually(5s, [&] { return kernel_state(lab_, resident_) == before_; }))
      << kernel_state(lab_, resident_);
}

TEST_F(Leftovers, RestartsDoNotPileUpPrograms) {
  DaemonProcess daemon(lab_);
  attach_both(daemon, {});
  for (int i = 0; i < 5; ++i) {
    daemon.kill();
    daemon.start();
  }
  EXPECT_EQ(daemon.stop(), 0);
  expect_as_before();
}

}  // namespace
}  // namespace tapdeck::lab
