#include "daemon/base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

#include "daemon/base/no_threads.h"

namespace tapdeck::log {
namespace {

// Lines land in a pipe; text() is what was written so far.
class LogTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pipe2(fds_.data(), O_NONBLOCK), 0); }
  void TearDown() override {
    configure(Options{});
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  void start(Format format, Level level = Level::Info, AccessLines access = AccessLines::Off) {
    configure({.level = level, .format = format, .access = access, .fd = fds_[1]});
  }
  std::string text() {
    std::string out(65536, '\0');
    const ssize_t n = ::read(fds_[0], out.data(), out.size());
    out.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return out;
  }
  std::array<int, 2> fds_{};
};

TEST_F(LogTest, WithoutAThreadForItsQueueWhoLogsWrites) {
  const NoThreads none;
  configure({.level = Level::Info, .format = Format::Pretty, .fd = fds_[1], .queue_lines = 8});
  info("store.open", "opened");
  EXPECT_NE(text().find("store.open"), std::string::npos);
}

TEST_F(LogTest, JsonLineCarriesEventMessageAndTypedFields) {
  start(Format::Json);
  info("store.open", "opened", {{"bytes", 42}, {"ratio", 0.5}, {"fresh", true}, {"path", "/a b"}});
  const std::string line = text();
  EXPECT_NE(
      line.find(
          R"("level":"info","event":"store.open","msg":"opened","bytes":42,"ratio":0.5,"fresh":true,"path":"/a b"})"),
      std::string::npos)
      << line;
  EXPECT_EQ(line.back(), '\n');
}

TEST_F(LogTest, JournalLineBeginsWithItsPriority) {
  start(Format::Journal);
  warn("lease.lost", "lease ran out", {{"target", "web"}});
  EXPECT_EQ(text(), "<4>lease.lost: lease ran out target=web\n");
}

TEST_F(LogTest, PeerCannotForgeALineOrAField) {
  start(Format::Journal);
  info("http.bad", "refused", {{"target", "x\n<3>forged: y"}, {"host", "a b=c"}});
  EXPECT_EQ(text(), "<6>http.bad: refused target=\"x\\n<3>forged: y\" host=\"a b=c\"\n");
}

TEST_F(LogTest, MessagesCannotDriveTheTerminalOrForgeALine) {
  start(Format::Journal);
  error("serve.failed",
        "no \x1b]0;owned\x07 here\xC2\x9B"
        "2J, \x9B"
        "2J\n<3>forged: \"x\"");
  EXPECT_EQ(text(),
            "<3>serve.failed: no \\u001b]0;owned\\u0007 here\\u009b2J, \xEF\xBF\xBD"
            "2J <3>forged: \"x\"\n");
}

TEST_F(LogTest, InvalidUtf8StaysValidJson) {
  start(Format::Json);
  info("e", "m", {{"v", std::string_view("\xff\xc0\xafz\x01", 5)}});
  EXPECT_NE(text().find("\"v\":\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\\u0001\""), std::string::npos);
}

TEST_F(LogTest, ValuesOfCredentialFieldsAreNeverPrinted) {
  start(Format::Journal);
  info("e", "m", {{"authorization", "Bearer hunter2"}, {"admin_token", "hunter2"}});
  EXPECT_EQ(text(), "<6>e: m authorization=[redacted] admin_token=[redacted]\n");
}

TEST_F(LogTest, DisabledLevelWritesNothing) {
  start(Format::Journal, Level::Warn);
  info("e", "m");
  access("GET /", {});
  EXPECT_EQ(text(), "");
}

TEST_F(LogTest, AccessLineHasItsOwnSwitch) {
  start(Format::Journal, Level::Warn, AccessLines::On);
  access("GET /", {{"status", 200}});
  EXPECT_EQ(text(), "<6>exchange: GET / status=200\n");
}

TEST_F(LogTest, RepeatedPeerErrorsAreHeldBackAndCounted) {
  start(Format::Journal);
  const uint64_t before = suppressed();
  for (int i = 0; i < 100; ++i) peer(Level::Warn, "test.repeated", "peer error");
  const std::string lines = text();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), kLimitedBurst);
  EXPECT_EQ(suppressed() - before, 100 - kLimitedBurst);
}

TEST_F(LogTest, QueuedLinesAreWrittenBeforeShutdownReturns) {
  configure({.format = Format::Journal, .fd = fds_[1], .queue_lines = 128});
  for (int i = 0; i < 20; ++i) info("e", "m", {{"i", i}});
  shutdown();
  const std::string lines = text();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 20);
}

TEST_F(LogTest, BlockedReaderDoesNotBlockTheCaller) {
  // A blocking pipe that nobody reads: the pool's thread gets stuck, info() must not.
  std::array<int, 2> stuck{};
  ASSERT_EQ(::pipe(stuck.data()), 0);
  configure({.format = Format::Journal, .fd = stuck[1], .queue_lines = 16});
  const std::string big(8192, 'x');
  for (int i = 0; i < 200; ++i) info("e", "m", {{"v", big}});
  std::thread drain([&] {
    std::string sink(65536, '\0');
    while (::read(stuck[0], sink.data(), sink.size()) > 0) {
    }
  });
  shutdown();
  ::close(stuck[1]);
  drain.join();
  ::close(stuck[0]);
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
  start(Format::Journal);
  {
    std::array<std::jthread, 4> threads;
    for (auto& thread : threads) {
      thread = std::jthread([] {
        for (int i = 0; i < 50; ++i) info("e", "m", {{"v", "0123456789"}});
      });
    }
  }
  const std::string lines = text();
  EXPECT_EQ(lines.size(), 200 * std::string_view("<6>e: m v=0123456789\n").size());
}

}  // namespace
}  // namespace tapdeck::log
