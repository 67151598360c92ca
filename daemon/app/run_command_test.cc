// The whole order of a run with real cgroups, namespaces and commands; only what captures, serves and stores is a
// fake that writes down when it was called. Each run is a process of its own, because it blocks signals or dies.
#include "daemon/app/run_command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "daemon/base/test_directory.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/trust/test_certificates.h"

namespace tapdeck::app {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Fake {
  TestDirectory directory;
  RunSummary summary;
  bool refuse_attach = false;
};

class FakeServices : public RunServices {
 public:
  explicit FakeServices(const Fake& fake) : fake_(fake) { note("open"); }
  ~FakeServices() override { note("close"); }
  [[nodiscard]] std::string ca_pem() const override { return trust::kOurPem; }
  [[nodiscard]] std::filesystem::path run_dir() const override { return fake_.directory.path(); }
  Result<void> attach(const std::string& cgroup_path) override {
    if (fake_.refuse_attach) return fail(Code::Permission, "no CAP_BPF");
    std::ifstream procs(cgroup_path + "/cgroup.procs");
    note(procs.peek() == std::ifstream::traits_type::eof() ? "attach to an empty cgroup" : "attach too late");
    return {};
  }
  Result<void> attach(RunNamespace& /*made*/) override {
    note("attach to a namespace");
    return {};
  }
  void interrupt() override { note("interrupt"); }
  void drain(std::chrono::milliseconds /*deadline*/) override { note("drain"); }
  [[nodiscard]] RunSummary summary() override { return fake_.summary; }

 private:
  void note(const std::string& line) const { std::ofstream(fake_.directory / "log", std::ios::app) << line << "\n"; }
  const Fake& fake_;
};

class Run : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernel::find_cgroup2_mount() || ::geteuid() != 0) GTEST_SKIP() << "needs root and cgroup2";
    for (const char* name : {"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"}) ::unsetenv(name);
    fake_.summary.session = "s";
    options_.session = "s";
  }
  // The wait status; outputs are read with out() and err().
  int run(const std::string& script) {
    options_.argv = {"/bin/sh", "-c", script};
    return run_argv();
  }
  int run_argv() {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const auto redirect = [&](const char* name, int to) {
        ::dup2(::open((fake_.directory / name).c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), to);
      };
      redirect("out", 1);
      redirect("err", 2);
      const int status = run_with(options_, [&](const RunOptions&) -> Result<std::unique_ptr<RunServices>> {
        return std::make_unique<FakeServices>(fake_);
      });
      ::_exit(status);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return status;
  }
  [[nodiscard]] std::string read(const std::string& name) const { return fake_.directory.read(name); }
  [[nodiscard]] std::vector<std::string> leftovers() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(fake_.directory.path())) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("run-")) found.push_back(name);
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(fake_.directory.path())) {
      if (entry.path().extension() == ".manifest") found.push_back(entry.path().string());
    }
    return found;
  }

  Fake fake_;
  RunOptions options_;
};

TEST_F(Run, CapturesBeforeTheCommandBeginsAndEndsAsItEnded) {
  fake_.summary.recorded = 2;
  const int status = run("echo output; exit 41");
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 41);
  EXPECT_EQ(read("out"), "output\n");
  EXPECT_EQ(read("err"), "tapdeck: session s: 2 recorded, 0 replayed, 0 missed, 0 tunnelled, 0 not captured\n");
  EXPECT_EQ(read("log"), "open\nattach to an empty cgroup\ndrain\nclose\n");
  EXPECT_THAT(leftovers(), testing::IsEmpty());
}

TEST_F(Run, GivesTheCommandTrustInItsEnvironmentAndItsFiles) {
  const std::string bundle = "/etc/ssl/certs/ca-certificates.crt";
  if (!std::filesystem::exists(bundle)) GTEST_SKIP() << "this host has no " << bundle;
  const std::string ours = trust::kOurPem.substr(28, 60);
  ASSERT_EQ(run("grep -cF '" + ours + "' " + bundle + " \"$SSL_CERT_FILE\" \"$NODE_EXTRA_CA_CERTS\""), 0);
  EXPECT_THAT(read("out"), HasSubstr(bundle + ":1\n"));
  EXPECT_THAT(read("out"), HasSubstr("bundle.pem:1\n"));
  EXPECT_THAT(read("out"), HasSubstr("ca.pem:1\n"));
  // Nobody else sees it.
  std::ifstream host(bundle);
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(host), {}), Not(HasSubstr(ours)));
}

TEST_F(Run, DiesOfTheCommandsSignal) {
  const int status = run("kill -TERM $$");
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
  EXPECT_THAT(read("log"), HasSubstr("drain\nclose\n"));
  EXPECT_THAT(leftovers(), testing::IsEmpty());
}

TEST_F(Run, ServicesHearWhenTheCommandIsToldToEnd) {
  for (const std::string signal : {"USR1", "HUP"}) {
    std::filesystem::remove(fake_.directory / "log");
    EXPECT_EQ(
        WEXITSTATUS(run("trap 'exit 3' " + signal + "; kill -" + signal + " $PPID; while :; do sleep 0.01; done")), 3);
    EXPECT_EQ(read("log"), "open\nattach to an empty cgroup\ndrain\nclose\n") << signal;
  }
  EXPECT_EQ(WEXITSTATUS(run("trap 'exit 4' TERM; kill -TERM $PPID; while :; do sleep 0.01; done")), 4);
  EXPECT_THAT(read("log"), HasSubstr("interrupt\ndrain\nclose\n"));
}

TEST_F(Run, ExitsLikeDockerWhenTheCommandCannotBegin) {
  options_.argv = {"tapdeck-no-such-command"};
  EXPECT_EQ(WEXITSTATUS(run_argv()), 127);
  EXPECT_THAT(read("err"), HasSubstr("tapdeck-no-such-command: No such file"));
  options_.argv = {"/etc/passwd"};
  EXPECT_EQ(WEXITSTATUS(run_argv()), 126);
  fake_.refuse_attach = true;
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 125);
  EXPECT_THAT(read("err"), HasSubstr("no CAP_BPF"));
  EXPECT_THAT(leftovers(), testing::IsEmpty());
}

TEST_F(Run, WhatFailsLeavesASummaryOfItsOwn) {
  options_.summary_file = fake_.directory / "summary.json";
  options_.session = "shop";
  const auto summary = [&] { return nlohmann::json::parse(read("summary.json"), nullptr, false); };
  std::ofstream(options_.summary_file) << "of the run before";
  options_.argv = {"tapdeck-no-such-command"};
  EXPECT_EQ(WEXITSTATUS(run_argv()), 127);
  ASSERT_TRUE(summary().is_object()) << read("summary.json");
  EXPECT_EQ(summary().value("exit", -1), 127);
  EXPECT_EQ(summary().value("recorded", -1), 0);
  EXPECT_EQ(summary().value("session", ""), "shop");
  EXPECT_THAT(summary().value("error", ""), HasSubstr("tapdeck-no-such-command"));
  fake_.refuse_attach = true;
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 125);
  EXPECT_EQ(summary().value("exit", -1), 125);
  EXPECT_THAT(summary().value("error", ""), HasSubstr("no CAP_BPF"));
  options_.capture = "magic";
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 125);
  EXPECT_THAT(summary().value("error", ""), HasSubstr("magic"));
  options_.capture = "auto";
  fake_.refuse_attach = false;
  EXPECT_EQ(WEXITSTATUS(run("exit 7")), 7);
  EXPECT_FALSE(summary().contains("error")) << read("summary.json");
}

TEST_F(Run, AMissOverrulesTheCommandsStatusWhenAsked) {
  fake_.summary.missed = 1;
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 0);
  options_.fail_on_miss = 3;
  options_.summary_file = fake_.directory / "summary.json";
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 3);
  EXPECT_THAT(read("summary.json"), HasSubstr("\"missed\":1"));
  EXPECT_THAT(read("summary.json"), HasSubstr("\"exit\":3"));
  fake_.summary.missed = 0;
  fake_.summary.refused = {{1, "curl", "udp", "192.0.2.1:443", ""}};
  EXPECT_EQ(WEXITSTATUS(run("exit 7")), 3);
  fake_.summary.refused = {};
  fake_.summary.ca_rejected = 1;
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 3) << "it did not get to ask";
  fake_.summary.ca_rejected = 0;
  fake_.summary.tls_failed = 1;
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 3) << "nor did it here";
  fake_.summary.tls_failed = 0;
  fake_.summary.names_lost = 1;
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 3) << "replay will not know the name";
}

TEST_F(Run, SealedWhatWasOnlyCountedAsNotCapturedWasRefused) {
  fake_.summary.uncaptured = {{"lease", 2}};
  fake_.summary.refused_unlisted = {{"lease", 2}};
  options_.fail_on_miss = 3;
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 0);
  options_.sealed = true;
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 3);
  EXPECT_THAT(read("err"), HasSubstr("tapdeck: refused: 2 connections: "));
  fake_.summary.uncaptured = {{"lease", 0}};
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 0);
}

TEST_F(Run, ASocketTheCommandInheritsIsToldAndWhenSealedRefused) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_GE(::dup2(socket, 51), 0);
  ::close(socket);
  EXPECT_EQ(WEXITSTATUS(run("exit 7")), 7);
  EXPECT_THAT(read("err"), HasSubstr("descriptor 51 is an IPv4 TCP socket made outside the run"));
  options_.sealed = true;
  EXPECT_EQ(WEXITSTATUS(run("echo ran")), 125);
  EXPECT_THAT(read("err"), HasSubstr("close it (51>&-), or run without --sealed"));
  EXPECT_EQ(read("out"), "");
  ::close(51);
  EXPECT_EQ(WEXITSTATUS(run("exit 7")), 7);
}

TEST_F(Run, ItsGuardIsGoneWithIt) {
  EXPECT_EQ(WEXITSTATUS(run("cat /proc/$PPID/task/$PPID/children")), 0);
  std::istringstream children(read("out"));
  std::vector<pid_t> seen{std::istream_iterator<pid_t>(children), {}};
  ASSERT_EQ(seen.size(), 2U) << "the guard and the command";
  for (const pid_t pid : seen) EXPECT_EQ(::kill(pid, 0), -1) << "not even a zombie";
}

TEST_F(Run, EndsWhatOutlivedTheCommandAndSaysSo) {
  EXPECT_EQ(WEXITSTATUS(run("sleep 1000 >/dev/null 2>&1 & exit 0")), 0);
  EXPECT_THAT(read("err"), HasSubstr("1 process outlived the command"));
}

TEST_F(Run, ByANamespaceItHappensInTheSameOrder) {
  options_.capture = "netns";
  const int status = run("ip -o -4 addr show dev lo; exit 41");
  EXPECT_EQ(WEXITSTATUS(status), 41) << read("err");
  EXPECT_THAT(read("out"), HasSubstr("192.0.0.8/32"));
  EXPECT_EQ(read("log"), "open\nattach to a namespace\ndrain\nclose\n");
  EXPECT_THAT(leftovers(), testing::IsEmpty());
}

TEST_F(Run, RefusesOptionsItCannotServe) {
  options_.capture = "magic";
  EXPECT_EQ(WEXITSTATUS(run("exit 0")), 125);
  options_.capture = "auto";
  options_.argv.clear();
  EXPECT_EQ(WEXITSTATUS(run_argv()), 125);
  EXPECT_EQ(read("log"), "");
}

}  // namespace
}  // namespace tapdeck::app
