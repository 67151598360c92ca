// `serve` around a Service of the test's own, in a child process: systemd's notify protocol, signals, exit status.
#include "daemon/app/serve.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>

#include "daemon/app/client.h"
#include "daemon/base/log.h"
#include "daemon/base/test_directory.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {
namespace {

enum class Alive { Yes, No };

class FakeService final : public Service {
 public:
  // No store: RocksDB's threads, once started by another test of this process, do not survive the fork.
  FakeService(std::filesystem::path mark, Alive alive) : mark_(std::move(mark)), alive_(alive) {}
  AppControl::Parts parts() override {
    return {.store = nullptr,
            .targets = nullptr,
            .runtime = this,
            .metrics = nullptr,
            .state_dir = "/s",
            .targets_file = {}};
  }
  Result<void> start() override { return {}; }
  bool all_alive() override { return alive_ == Alive::Yes; }
  void drain(std::chrono::milliseconds limit) override { std::ofstream(mark_) << limit.count(); }
  std::string status_line() override { return "fine"; }
  Defaults defaults() override { return defaults_; }
  Result<void> set_defaults(const Defaults& defaults) override {
    defaults_ = defaults;
    return {};
  }
  void rewind(std::optional<uint32_t> /*target*/) override {}
  admin::Readiness readiness() override { return {.ready = true, .reason = ""}; }

 private:
  std::filesystem::path mark_;
  Alive alive_;
  Defaults defaults_;
};

class ServeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(directory_ / "c.toml") << "[admin]\nlisten = \"127.0.0.1:0\"\nsocket = \"s\"\ntoken_file = \"t\"\n"
                                            "[limits]\ndrain_timeout = \"123ms\"\n[log]\nlevel = \"off\"\n";
    notify_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (directory_ / "notify").c_str());
    ASSERT_EQ(::bind(notify_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval patience{.tv_sec = 30, .tv_usec = 0};
    ::setsockopt(notify_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  void TearDown() override {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
  }
  void start(Alive alive = Alive::Yes) {
    child_ = ::fork();
    if (child_ != 0) return;
    if (!said_.empty()) ::dup2(::open(said_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600), 2);
    ::setenv("NOTIFY_SOCKET", (directory_ / "notify").c_str(), 1);
    ::setenv("WATCHDOG_USEC", "200000", 1);
    ::setenv("XDG_RUNTIME_DIR", directory_.path().c_str(), 1);
    ::setenv("RUNTIME_DIRECTORY", directory_.path().c_str(), 1);
    const int status =
        serve({.config_file = directory_ / "c.toml", .state_dir = directory_ / "state"},
              [&](const config::Config&, const Paths&, MetricsRegistry&) -> Result<std::unique_ptr<Service>> {
                return std::make_unique<FakeService>(directory_ / "drained", alive);
              });
    ::_exit(status);
  }
  // The next message that begins with `prefix`; "" when none comes.
  std::string message(std::string_view prefix) {
    char buffer[4096];
    for (ssize_t n; (n = ::recv(notify_.get(), buffer, sizeof buffer, 0)) > 0;) {
      const std::string text(buffer, static_cast<size_t>(n));
      if (text.starts_with(prefix)) return text;
      others_ += text + "\n";
    }
    return "";
  }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(child_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  TestDirectory directory_;
  std::filesystem::path said_;  // where stderr of the child goes; empty: where ours goes
  UniqueFd notify_;
  std::string others_;
  pid_t child_ = 0;
};

TEST_F(ServeTest, TellsSystemdServesFeedsTheWatchdogAndDrainsOnSigterm) {
  start();
  ASSERT_EQ(message("READY=1"), "READY=1");
  EXPECT_EQ(message("WATCHDOG=1"), "WATCHDOG=1");
  auto client = RemoteControl::connect(directory_ / "s");
  ASSERT_TRUE(client) << client.error().message();
  EXPECT_TRUE((*client)->readiness().ready);
  ::kill(child_, SIGTERM);
  EXPECT_NE(message("STOPPING=1"), "");
  EXPECT_EQ(message("EXTEND_TIMEOUT_USEC="), "EXTEND_TIMEOUT_USEC=15000000") << "drain_timeout may be longer than "
                                                                                "TimeoutStopSec";
  EXPECT_EQ(wait(), 0);
  std::ifstream in(directory_ / "drained");
  std::string limit;
  in >> limit;
  EXPECT_EQ(limit, "123");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "s"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "t"));
}

TEST_F(ServeTest, StuckWorkersStarveTheWatchdog) {
  start(Alive::No);
  ASSERT_NE(message("READY=1"), "");
  EXPECT_NE(message("STATUS=fine"), "");  // the loop turned at least once
  ::kill(child_, SIGTERM);
  EXPECT_NE(message("STOPPING=1"), "");
  EXPECT_EQ(others_.find("WATCHDOG=1"), std::string::npos) << others_;
  EXPECT_EQ(wait(), 0);
}

TEST_F(ServeTest, AStartThatFailsSaysWhyThoughTheLogIsOff) {
  std::ofstream(directory_ / "c.toml") << "[admin]\nlisten = \"127.0.0.1:0\"\nsocket = \"/proc/version/s\"\n"
                                          "token_file = \"t\"\n[log]\nlevel = \"off\"\n";
  said_ = directory_ / "stderr";
  start();
  EXPECT_EQ(wait(), 1);
  std::ifstream in(said_);
  std::string line;
  std::getline(in, line);
  EXPECT_NE(line.find("tapdeck: "), std::string::npos) << line;
  EXPECT_NE(line.find("/proc/version/s"), std::string::npos) << line;
  EXPECT_FALSE(std::getline(in, line)) << "one line, not " << line;
}

TEST_F(ServeTest, BrokenConfigurationEndsWithOneAndIsNamed) {
  std::ofstream(directory_ / "c.toml") << "[admin]\nlisen = 1\n";
  start();
  EXPECT_EQ(wait(), 1);
}

TEST(ConfigureLog, LinesOfExchangesFollowTheLevelUnlessAskedFor) {
  config::Log config;
  const auto enabled = [&](LogFor who) {
    configure_log(config, who);
    log::shutdown();  // its thread would not survive the fork of another test
    return log::access_enabled();
  };
  EXPECT_TRUE(enabled(LogFor::Daemon));
  EXPECT_FALSE(enabled(LogFor::Command));
  for (const auto level : {config::LogLevel::Warn, config::LogLevel::Error, config::LogLevel::Off}) {
    config.level = level;
    EXPECT_FALSE(enabled(LogFor::Daemon));
  }
  config.access = true;
  EXPECT_TRUE(enabled(LogFor::Daemon)) << "they have a key of their own";
  log::configure(log::Options{});
}

}  // namespace
}  // namespace tapdeck::app
