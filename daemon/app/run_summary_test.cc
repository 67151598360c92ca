#include "daemon/app/run_summary.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "daemon/app/printable.h"
#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

RunSummary example() {
  RunSummary summary;
  summary.session = "s";
  summary.mode = Mode::Replay;
  summary.replayed = 3;
  summary.missed = 1;
  summary.misses = {{"GET", "http://a/", "nothing like it"}};
  summary.tunnelled = 2;
  summary.uncaptured = {{"quic", 4}, {"udp", 1}, {"raw", 0}};
  summary.refused = {{7, "curl\xff", "tcp", "192.0.2.1:443", "api.example"}};
  summary.exit = 3;
  return summary;
}

TEST(RunSummary, PrintsTheLineThatScriptsLookFor) {
  EXPECT_EQ(summary_line(example()),
            "tapdeck: session s: 0 recorded, 3 replayed, 1 missed, 2 tunnelled, 5 not captured");
}

TEST(RunSummary, ThatLineIsTheSameInEveryModeWhateverElseThereIsToSay) {
  RunSummary summary = example();
  EXPECT_EQ(also_line(summary), "");
  const std::string line = summary_line(summary);
  summary.forwarded = summary.refused_as_recorded = summary.ca_rejected = summary.lost = 1;
  EXPECT_EQ(summary_line(summary), line);
  EXPECT_EQ(also_line(summary), "tapdeck: also: 1 LOST, 1 forwarded, 1 refused as recorded, 1 did not trust the CA\n");
}

TEST(RunSummary, NamesTheCapturePath) {
  RunSummary summary = example();
  summary.capture = "cgroup";
  EXPECT_NE(summary_json(summary).find("\"capture\":\"cgroup\""), std::string::npos);
}

TEST(RunSummary, WritesTheShapeThatTestsRelyOn) {
  EXPECT_EQ(summary_json(example()),
            "{\"session\":\"s\",\"mode\":\"replay\",\"take\":0,\"recorded\":0,\"failed_recorded\":0,\"replayed\":3,"
            "\"missed\":1,"
            "\"tunnelled\":2,\"tunnels_failed\":0,\"forwarded\":0,\"lost\":0,\"names_lost\":0,\"refused_as_recorded\":"
            "0,\"ca_rejected\":"
            "0,\"tls_failed\":0,"
            "\"uncaptured\":{"
            "\"quic\":4,\"udp\":1}"
            ",\"misses\":[{\"method\":\"GET\",\"url\":\"http://a/\",\"reason\":\"nothing like it\",\"count\":1}]"
            ",\"refused\":[{\"pid\":7,"
            "\"comm\":"
            "\"curl\xEF\xBF\xBD\","
            "\"protocol\":\"tcp\",\"destination\":\"192.0.2.1:443\",\"name\":\"api.example\"}],\"exit\":3}\n");
}

TEST(RunSummary, SaysWhyThereWereRefusalsThatNobodyListed) {
  RunSummary summary = example();
  summary.refused = {};
  summary.refused_unlisted = {{"lease", 2}, {"map_full", 0}, {"no_listener", 1}};
  EXPECT_EQ(refusal_lines(summary),
            "tapdeck: refused: 2 connections: this run stood still for longer than capture.lease_ms (lease)\n"
            "tapdeck: refused: 1 connection: a network namespace was not prepared yet (no_listener)\n");
}

TEST(RunSummary, WarnsOfProcessesThatLeft) {
  RunSummary summary = example();
  EXPECT_EQ(departure_line(summary), "");
  summary.uncaptured["left_cgroup"] = 2;
  EXPECT_EQ(departure_line(summary),
            "tapdeck: warning: 2 processes left the cgroup of this run (left_cgroup): what they did was not captured; "
            "podman stays in it with --cgroups=disabled (crun) or --cgroup-parent, see README\n");
  EXPECT_NE(summary_json(summary).find("\"left_cgroup\":2"), std::string::npos);
  EXPECT_TRUE(summary_line(summary).ends_with(" 5 not captured")) << "those are connections";
  EXPECT_EQ(uncaptured_flows(summary), 7U);
}

TEST(RunSummary, LossesAreNotOverlooked) {
  RunSummary summary = example();
  summary.forwarded = 4;
  EXPECT_EQ(also_line(summary), "tapdeck: also: 4 forwarded\n");
  summary.lost = 2;
  EXPECT_EQ(also_line(summary), "tapdeck: also: 2 LOST, 4 forwarded\n");
  EXPECT_NE(summary_json(summary).find("\"lost\":2"), std::string::npos);
  summary.names_lost = 3;
  EXPECT_EQ(also_line(summary), "tapdeck: also: 2 LOST, 3 answers to names NOT recorded, 4 forwarded\n");
  EXPECT_NE(summary_json(summary).find("\"names_lost\":3"), std::string::npos);
}

TEST(RunSummary, WhatWasMerelyLateIsRecorded) {
  RunSummary summary = example();
  summary.recorded = 3;
  summary.lost = 2;
  count_late(summary, 4);
  EXPECT_EQ(summary.recorded, 4U);
  EXPECT_EQ(summary.lost, 1U);
  count_late(summary, 3);  // some that nobody waited for were not written
  EXPECT_EQ(summary.recorded, 4U);
  EXPECT_EQ(summary.lost, 1U);
}

TEST(RunSummary, TunnelsThatFailedAtTheOriginLeaveATrace) {
  RunSummary summary = example();
  summary.tunnels_failed = 1;
  EXPECT_EQ(also_line(summary), "tapdeck: also: 1 to be tunnelled failed at the origin\n");
  EXPECT_NE(summary_json(summary).find("\"tunnels_failed\":1"), std::string::npos);
}

TEST(RunSummary, RefusalsAsRecordedAreCountedApart) {
  RunSummary summary = example();
  summary.refused_as_recorded = 3;
  EXPECT_EQ(also_line(summary), "tapdeck: also: 3 refused as recorded\n");
  EXPECT_NE(summary_json(summary).find("\"refused_as_recorded\":3"), std::string::npos);
}

TEST(RunSummary, ClientsThatDoNotTrustTheCaAreCounted) {
  RunSummary summary = example();
  summary.ca_rejected = 2;
  EXPECT_EQ(also_line(summary), "tapdeck: also: 2 did not trust the CA\n");
  EXPECT_NE(summary_json(summary).find("\"ca_rejected\":2"), std::string::npos);
  summary.tls_failed = 3;
  EXPECT_NE(also_line(summary).find(", 3 could not agree on TLS"), std::string::npos);
  EXPECT_NE(summary_json(summary).find("\"tls_failed\":3"), std::string::npos);
}

TEST(RunSummary, SaysWhatWasMissedAndWhatCameNearest) {
  RunSummary summary;
  EXPECT_EQ(miss_lines(summary), "");
  summary.misses = {{"POST", "https://a/x\n\x1b[1m", "nearest 24: differs in body"},
                    {"", "192.0.2.1:25", "a flow that cannot be on tape was reset", 2}};
  EXPECT_EQ(miss_lines(summary),
            "tapdeck: missed: POST https://a/x" + printable("\n\x1b") +
                "[1m (nearest 24: differs in body)\n"
                "tapdeck: missed: 192.0.2.1:25 (a flow that cannot be on tape was reset), 2 times\n");
  summary.misses.resize(9);
  const std::string lines = miss_lines(summary);
  EXPECT_EQ(std::ranges::count(lines, '\n'), 6);
  EXPECT_TRUE(lines.ends_with("tapdeck: missed: 4 more kinds; --summary FILE lists them\n"));
}

TEST(RunSummary, FailuresOfTheOriginThatWereRecordedAreTold) {
  RunSummary summary = example();
  summary.recorded = 3;
  summary.failed_recorded = 2;
  EXPECT_EQ(also_line(summary), "tapdeck: also: 2 of the recorded failed at the origin\n");
  EXPECT_NE(summary_json(summary).find("\"failed_recorded\":2"), std::string::npos);
}

TEST(RunSummary, SaysWhatWasRefusedOnceEach) {
  RunSummary summary = example();
  summary.refused.assign(3, {7, "curl", "udp", "192.0.2.1:53", ""});
  summary.refused.push_back({8, "", "raw", "", ""});
  EXPECT_EQ(refusal_lines(summary),
            "tapdeck: refused: udp to 192.0.2.1:53 (curl)\n"
            "tapdeck: refused: raw\n"
            "tapdeck: refused: udp to port 53 is DNS of a socket bound to a device, to a link-local resolver without "
            "connect(), or while this run stood still: see docs/RUN.md (Sealing)\n");
  for (int port = 1; port < 8; ++port) summary.refused.push_back({1, "", "tcp", std::to_string(port), ""});
  EXPECT_NE(refusal_lines(summary).find("4 more kinds; --summary FILE lists all\n"), std::string::npos);
  summary.refused = {{7, "", "tcp", "192.0.2.1:53", ""}, {7, "", "udp", "192.0.2.1:1053", ""}};
  EXPECT_EQ(refusal_lines(summary).find("DNS"), std::string::npos);
  summary.refused.clear();
  EXPECT_EQ(refusal_lines(summary), "");
}

class SummaryFileTest : public testing::Test {
 protected:
  [[nodiscard]] std::string read(const std::string& name) const { return directory_.read(name); }
  const TestDirectory directory_;
};

TEST_F(SummaryFileTest, WritesOverWhatIsThereAndThroughLinks) {
  std::ofstream(directory_ / "target") << "something longer than what comes";
  std::filesystem::create_symlink("target", directory_ / "link");
  const auto file = SummaryFile::open(directory_ / "link");
  ASSERT_TRUE(file);
  EXPECT_EQ(read("target"), "something longer than what comes") << "not before there is something to say";
  EXPECT_TRUE(file->write("{}\n"));
  EXPECT_EQ(read("target"), "{}\n");
  EXPECT_TRUE(std::filesystem::is_symlink(directory_ / "link"));
}

TEST_F(SummaryFileTest, ADeviceStaysOne) {
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(SummaryFile::open(directory_ / "pipe")) << "nobody reads it";
  const UniqueFd reader(::open((directory_ / "pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const auto file = SummaryFile::open(directory_ / "pipe");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->write("{}\n"));
  char got[8] = {};
  EXPECT_EQ(::read(reader.get(), got, sizeof got), 3);
  EXPECT_TRUE(std::filesystem::is_fifo(directory_ / "pipe"));
}

// Standard output leads to "log" as long as this lives.
class OutputToLog {
 public:
  explicit OutputToLog(const std::string& log) : before_(::dup(STDOUT_FILENO)) {
    const UniqueFd file(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    ::dup2(file.get(), STDOUT_FILENO);
  }
  ~OutputToLog() { ::dup2(before_.get(), STDOUT_FILENO); }
  OutputToLog(const OutputToLog&) = delete;
  OutputToLog& operator=(const OutputToLog&) = delete;

 private:
  UniqueFd before_;
};

TEST_F(SummaryFileTest, StandardOutputIsWrittenOn) {
  for (const std::string name : {"-", "/dev/stdout", "/proc/self/fd/1"}) {
    {
      const OutputToLog redirected(directory_ / "log");
      const auto file = SummaryFile::open(name);
      ASSERT_TRUE(file) << name;
      ASSERT_EQ(::write(STDOUT_FILENO, "of the command\n", 15), 15);
      EXPECT_TRUE(file->write("{}\n")) << name;
    }
    EXPECT_EQ(read("log"), "of the command\n{}\n") << name;
  }
  EXPECT_FALSE(std::filesystem::exists("-"));
}

TEST_F(SummaryFileTest, ANameThatCannotBeWrittenIsToldBeforeTheCommand) {
  EXPECT_FALSE(SummaryFile::open(directory_ / "missing/file"));
  EXPECT_TRUE(SummaryFile::open("")) << "none is wanted";
}

TEST(RunSummary, AnotherSessionThanAskedForIsTold) {
  RunSummary summary;
  summary.session = "q";
  EXPECT_EQ(other_session_line(summary), "");
  summary.asked_session = "q";
  EXPECT_EQ(other_session_line(summary), "");
  summary.session = "q-2";
  EXPECT_EQ(
      other_session_line(summary),
      "tapdeck: recorded as session q-2: session q was imported or made anew meanwhile, with other match secrets\n");
}

}  // namespace
}  // namespace tapdeck::app
