// Processes that leave the cgroup of their target: a container of podman's below `tapdeck run` above all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "netns-tests/captured.h"
#include "netns-tests/container.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nginx_origin.h"

namespace tapdeck::lab {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

// Where v1 hierarchies are mounted too, runc makes a container's parent in each of them and leaves it there, empty.
void remove_parents_by_runc() {
  std::ifstream mounts("/proc/self/mounts");
  std::string source, mount, type, rest;
  while (mounts >> source >> mount >> type && std::getline(mounts, rest)) {
    if (type != "cgroup") continue;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(mount, ignored)) {
      if (!entry.path().filename().string().starts_with("tapdeck-run-")) continue;
      for (const auto& below : std::filesystem::directory_iterator(entry, ignored)) ::rmdir(below.path().c_str());
      ::rmdir(entry.path().c_str());  // not one in which something lives
    }
  }
}

class Escape : public ::testing::Test {
 protected:
  void TearDown() override { remove_parents_by_runc(); }
  Output run(const std::vector<std::string>& flags, const std::string& script) {
    std::vector<std::string> argv = {tapdeck_binary(), "run",
                                     "--state-dir",    lab_.directory() / "run-state",
                                     "--upstream-ca",  lab_.ca().certificate(),
                                     "--fail-on-miss", "--summary",
                                     summary_file()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    argv.insert(argv.end(), {"--", "sh", "-c", script});
    return run_in({.lab = lab_}, argv);
  }
  // `podman run FLAGS` of one curl that asks the origin, with the trust stores that the run has.
  std::string podman(const std::string& flags) {
    const auto made =
        run_to_end({.argv = {std::string(TAPDECK_LAB_SOURCE) + "/make_rootfs", "client"}}, std::chrono::minutes(4));
    EXPECT_EQ(made.status, 0) << made.err;
    return "CONTAINERS_CONF=" + container_environment().at("CONTAINERS_CONF") +
           " podman run --rm --network host --add-host origin.test:" + kOriginV4 +
           " -v /etc/ssl/certs:/etc/ssl/certs:ro " + flags + " --rootfs " + made.out.substr(0, made.out.find('\n')) +
           ":O curl -sS -m 20 https://origin.test/a.txt";
  }
  [[nodiscard]] std::string summary_file() const { return lab_.directory() / "summary.json"; }
  [[nodiscard]] std::string summary() const { return read_file(summary_file()); }

  Topology lab_;
  Cgroup elsewhere_{"elsewhere"};
  std::string leave_ = "echo $$ > " + (elsewhere_.path() / "cgroup.procs").string();
};

TEST_F(Escape, ASealedRunOfWhichAProcessLeavesFails) {
  const auto sealed = run({"--sealed"}, leave_ + "; true");
  EXPECT_EQ(sealed.status, 3) << sealed.err;
  EXPECT_THAT(summary(), HasSubstr(R"("uncaptured":{"left_cgroup":1})"));
  EXPECT_THAT(sealed.err, HasSubstr("warning: 1 process left the cgroup of this run"));
  EXPECT_THAT(sealed.err, HasSubstr(elsewhere_.path().string()));
}

TEST_F(Escape, AnyOtherRunIsToldOfIt) {
  const auto open = run({}, leave_ + "; true");
  EXPECT_EQ(open.status, 0) << open.err;
  EXPECT_THAT(summary(), HasSubstr(R"("uncaptured":{"left_cgroup":1})"));
  EXPECT_THAT(open.err, HasSubstr("warning: 1 process left the cgroup of this run"));
}

TEST_F(Escape, ACgroupOfItsOwnBelowTheRunsIsNone) {
  const auto run_it = run({"--sealed"},
                          "here=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/self/mounts)"
                          "$(sed -n s/^0:://p /proc/self/cgroup); mkdir $here/own && echo $$ > $here/own/cgroup.procs");
  EXPECT_EQ(run_it.status, 0) << run_it.err;
  EXPECT_THAT(summary(), HasSubstr(R"("uncaptured":{})"));
}

TEST_F(Escape, AContainerInACgroupOfPodmansFailsTheRun) {
  NginxOrigin origin(lab_, {{"a.txt", "a"}});
  const auto out = run({"--sealed"}, podman(""));
  EXPECT_EQ(out.status, 3) << out.err;
  EXPECT_THAT(summary(), testing::ContainsRegex(R"("left_cgroup":1[,}])"));
}

TEST_F(Escape, AContainerBelowTheRunsCgroupIsRecordedAndReplayed) {
  const auto command = podman("--cgroup-parent \"$(sed -n s/^0:://p /proc/self/cgroup)\"");
  {
    const NginxOrigin origin(lab_, {{"a.txt", "a"}});
    const auto recorded = run({}, command);
    ASSERT_EQ(recorded.status, 0) << recorded.err;
    EXPECT_THAT(recorded.err, HasSubstr("1 recorded, 0 replayed, 0 missed, 0 tunnelled, 0 not captured"));
  }
  const auto replayed = run({"--mode", "replay", "--sealed"}, command);
  EXPECT_EQ(replayed.status, 0) << replayed.err;
  EXPECT_EQ(replayed.out, "a");
}

TEST(EscapeOfATarget, IsCountedAndLogged) {
  Captured captured;
  const Cgroup elsewhere("elsewhere");
  const auto moved = run_in(captured.seat(), {"sh", "-c", "echo $$ > " + (elsewhere.path() / "cgroup.procs").string()});
  ASSERT_EQ(moved.status, 0) << moved.err;
  EXPECT_EQ(captured.daemon().metric("tapdeck_flows_uncaptured_total", {"reason=\"left_cgroup\""}), 1);
  EXPECT_TRUE(eventually(10s, [&] { return captured.daemon().log().contains("capture.left_cgroup"); }));
}

}  // namespace
}  // namespace tapdeck::lab
