#include "daemon/app/paths.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

class PathsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("TAPDECK_STATE_DIR");
    ::unsetenv("RUNTIME_DIRECTORY");
  }
  void TearDown() override { SetUp(); }
};

TEST_F(PathsTest, FlagWinsOverEnvironmentOverConfiguration) {
  config::Config config;
  config.storage.path = "/from/config";
  EXPECT_EQ(paths_of(config, "").state_dir, "/from/config");
  ::setenv("TAPDECK_STATE_DIR", "/from/environment", 1);
  EXPECT_EQ(paths_of(config, "").state_dir, "/from/environment");
  EXPECT_EQ(paths_of(config, "/from/flag/.").store, "/from/flag/store");
}

TEST_F(PathsTest, GivenFilesReplaceTheDefaults) {
  config::Config config;
  EXPECT_EQ(paths_of(config, "/s").ca_cert, "/s/ca.pem");
  config.tls.ca_cert = "/x/c.pem";
  config.tls.ca_key = "/x/k.pem";
  config.admin.socket = "/x/sock";
  const Paths paths = paths_of(config, "/s");
  EXPECT_EQ(paths.ca_cert, "/x/c.pem");
  EXPECT_EQ(paths.ca_key, "/x/k.pem");
  EXPECT_EQ(paths.admin_socket, "/x/sock");
}

TEST_F(PathsTest, RunDirectoryOfSystemdIsHonoured) {
  ::setenv("RUNTIME_DIRECTORY", "/run/one:/run/two", 1);
  EXPECT_EQ(paths_of({}, "/s").admin_socket, "/run/one/admin.sock");
}

TEST_F(PathsTest, ADirectoryThatCannotBeMadeIsReplacedByTheOther) {
  const TestDirectory base;
  EXPECT_EQ(writable_or(base / "not" / "yet", "/other"), base / "not" / "yet");
  EXPECT_EQ(writable_or(base.path(), "/other"), base.path());
  EXPECT_EQ(writable_or(base.write("file", "") / "tapdeck", "/other"), "/other");
}

// In a mount namespace of its own: 0 done, 1 not in the state directory, 2 not made, 3 no right to mount.
int end_with_run_read_only(const std::filesystem::path& state) {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_PRIVATE | MS_REC, nullptr) != 0 ||
      ::mount("none", "/run", "tmpfs", MS_RDONLY, nullptr) != 0)
    return 3;
  const Paths paths = paths_of({}, state);
  if (paths.run_dir != state / "run") return 1;
  return make_directories(paths) ? 0 : 2;
}

TEST_F(PathsTest, WhereRunIsReadOnlyTheStateDirectoryHoldsTheRunDirectory) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting takes root";
  const TestDirectory base;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(end_with_run_read_only(base / "state"));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 3) GTEST_SKIP() << "this process may not mount";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(PathsTest, WhoDoesNotServeByItNeedsNoFileThatItNames) {
  const TestDirectory directory;
  const auto file =
      directory.write("t.toml",
                      "[storage]\npath = \"/from/config\"\n[tls]\nupstream_ca = [\"/nonexistent/ca.pem\"]\n"
                      "[[routes]]\n[routes.grpc]\nproto_files = [\"/nonexistent/a.proto\"]\n");
  EXPECT_FALSE(config_for(file));
  const auto config = config_for(file, config::NamedFiles::Any);
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(paths_of(*config, "").state_dir, "/from/config");
}

TEST_F(PathsTest, WithoutAHomeNoDirectoryIsGuessed) {
  if (::geteuid() == 0) ASSERT_EQ(::seteuid(65534), 0);
  const std::string home = std::getenv("HOME") == nullptr ? "" : std::getenv("HOME");
  ::unsetenv("HOME");
  ::unsetenv("XDG_DATA_HOME");
  const Paths paths = paths_of({}, "");
  const auto made = make_directories(paths);
  EXPECT_EQ(paths_of({}, "/s").store, "/s/store");
  ::setenv("HOME", home.c_str(), 1);
  if (::getuid() == 0) ASSERT_EQ(::seteuid(0), 0);
  EXPECT_EQ(paths.store, "");
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("--state-dir"), std::string::npos) << made.error().message();
}

TEST_F(PathsTest, StateDirectoryIsPrivateAndAFileInItsPlaceIsNamed) {
  const TestDirectory base;
  ::setenv("RUNTIME_DIRECTORY", (base / "run").c_str(), 1);
  const Paths paths = paths_of({}, base / "deep" / "state");
  ASSERT_TRUE(make_directories(paths));
  ASSERT_TRUE(make_directories(paths));  // again is fine
  struct stat info{};
  ASSERT_EQ(::stat(paths.state_dir.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  const auto blocked = make_directories(paths_of({}, "/proc/version"));
  ASSERT_FALSE(blocked);
  EXPECT_NE(blocked.error().message().find("/proc/version"), std::string::npos);
}

}  // namespace
}  // namespace tapdeck::app
