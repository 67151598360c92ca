// What the subcommands say of mistakes, as text and as JSON; CA and configuration. The command line itself:
// cli_test.cc.
#include <unistd.h>

#include "daemon/app/cli_rig.h"
#include "daemon/app/output.h"
#include "store/exchange_store.h"

namespace tapdeck::app {
namespace {

using ::testing::HasSubstr;

TEST_F(CliTest, MistakesAreJsonWhenAskedFor) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"mode", "set", "foo", "--json"}, {"session", "lst", "--json"}, {"session", "create", "--json"}}) {
    EXPECT_EQ(call(words), kExitUsage);
    const Json error = Json::parse(err_.str(), nullptr, false);
    ASSERT_TRUE(error.is_object()) << err_.str();
    EXPECT_EQ(error["error"], "invalid_argument");
    EXPECT_NE(error["detail"], "");
    EXPECT_NE(error["next"], "");
  }
}

TEST_F(CliTest, WhatPrintsForPeoplePrintsJsonToo) {
  EXPECT_EQ(here({"version", "--json"}), kExitOk) << err_.str();
  EXPECT_NE(Json::parse(out_.str())["version"], "");
  std::ofstream(config_) << "[proxy]\nmode = \"replay\"\n";
  EXPECT_EQ(here({"config", "show", "--json"}), kExitOk) << err_.str();
  const Json shown = Json::parse(out_.str());
  EXPECT_EQ(shown["config"]["proxy"]["mode"], "replay");
  EXPECT_EQ(shown["config"]["storage"]["path"], (directory_ / "state").string()) << "what is in force";
  ::setenv("RUNTIME_DIRECTORY", directory_.path().c_str(), 1);
  EXPECT_EQ(here({"clean", "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(Json::parse(out_.str())["done"], "cleaned");
  ::unsetenv("RUNTIME_DIRECTORY");
}

TEST_F(CliTest, AStoreThatARunOwnsIsSaidToBeFreeLater) {
  ASSERT_EQ(here({"session", "create", "shop"}), kExitOk) << err_.str();
  EXPECT_EQ(here({"session", "create", "shop"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("'shop' exists; choose another name"));
  store::StoreOptions options;
  options.path = (directory_ / "state" / "store").string();
  const auto run = store::ExchangeStore::open(options, store::Access::ReadWrite);
  ASSERT_TRUE(run) << run.error().message();
  for (std::vector<std::string> words : std::vector<std::vector<std::string>>{
           {"session", "create", "x"}, {"session", "delete", "shop", "--yes"}, {"recording", "delete", "1"}}) {
    EXPECT_EQ(here(words), kExitFailure);
    EXPECT_THAT(err_.str(), HasSubstr("in process " + std::to_string(::getpid()) + "; try again when it has ended"));
  }
}

TEST_F(CliTest, ErrorsAreJsonWhenAskedFor) {
  ASSERT_EQ(here({"session", "create", "shop"}), kExitOk);
  EXPECT_EQ(here({"recording", "show", "77", "--json"}), kExitFailure);
  EXPECT_EQ(Json::parse(err_.str())["error"], "not_found");
  EXPECT_THAT(Json::parse(err_.str())["next"], HasSubstr("tapdeck recording list"));
  EXPECT_EQ(here({"recording", "show", "77"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("; list what there is: tapdeck session list")) << "and text says so, too";
  EXPECT_EQ(here({"recording", "show", "x1", "--json"}), kExitFailure);
  EXPECT_EQ(Json::parse(err_.str())["error"], "invalid_argument");
}

TEST_F(CliTest, ErrorsCannotDriveTheTerminal) {
  ASSERT_EQ(here({"session", "create", "shop"}), kExitOk) << err_.str();
  EXPECT_EQ(here({"recording", "show", "\x1b]0;owned\x07\u009B2J\u202E"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("'\\u001b]0;owned\\u0007\\u009b2J\\u202e' is not a recording id"));
  EXPECT_EQ(here({"recording", "show", "\x1b]0;owned\u009B", "--json"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("'\\u001b]0;owned\\u009b' is not a recording id"));
  std::ofstream(config_) << "[\n";
  EXPECT_EQ(here({"config", "check"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("\n")) << "our own lines stay lines";
}

TEST_F(CliTest, ConfigCheckFindsHalfACaPair) {
  std::ofstream(config_) << "[tls]\nca_cert = \"ca.pem\"\nca_key = \"ca.key\"\n";
  EXPECT_EQ(here({"config", "check"}), kExitOk) << "both are made at the first start: " << err_.str();
  ASSERT_EQ(here({"ca", "init"}), kExitOk) << err_.str();
  EXPECT_EQ(here({"config", "check"}), kExitOk) << err_.str();
  std::filesystem::rename(directory_ / "ca.key", directory_ / "away");
  EXPECT_EQ(here({"config", "check"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("ca.key: missing"));
  std::filesystem::rename(directory_ / "away", directory_ / "ca.key");
  std::filesystem::remove(directory_ / "ca.pem");
  EXPECT_EQ(here({"config", "check"}), kExitFailure) << "the certificate is missing";
}

TEST_F(CliTest, CaIsMadeOnceShownAndExportedWithoutItsKey) {
  EXPECT_EQ(here({"ca", "show"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("make it: tapdeck ca init --config " + config_.string() + " --state-dir " +
                                    (directory_ / "state").string()));
  ASSERT_EQ(here({"ca", "init", "--json"}), kExitOk) << err_.str();
  const std::string first = Json::parse(out_.str())["sha256"];
  ASSERT_EQ(here({"ca", "init", "--json"}), kExitOk);
  EXPECT_EQ(Json::parse(out_.str())["sha256"], first);
  ASSERT_EQ(here({"ca", "export"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_THAT(out_.str(), ::testing::Not(HasSubstr("PRIVATE")));
}

TEST_F(CliTest, WhoIsNotRootIsToldWhatTakesRoot) {
  const std::string absent = "/nobody-may-make-this/state";
  if (::geteuid() == 0) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const std::string home = std::getenv("HOME") == nullptr ? "" : std::getenv("HOME");
  ::setenv("HOME", "/proc/nobody", 1);
  ::unsetenv("XDG_DATA_HOME");
  EXPECT_EQ(call({"recording", "list"}), kExitOk);
  const std::string listed = err_.str();
  EXPECT_EQ(call({"ca", "install", "--state-dir", absent}), kExitFailure);
  const std::string installed = err_.str();
  ::setenv("HOME", home.c_str(), 1);
  if (::getuid() == 0) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_THAT(listed, HasSubstr("nothing is recorded in /proc/nobody/.local/share/tapdeck; for what `sudo tapdeck run` "
                                "or the daemon of this host recorded: sudo tapdeck"));
  EXPECT_THAT(installed, HasSubstr("it takes root: sudo tapdeck ca install --state-dir " + absent));
}

TEST_F(CliTest, AnExportReplacesAFileWhenTold) {
  ASSERT_EQ(here({"session", "create", "shop"}), kExitOk) << err_.str();
  const std::filesystem::path file = directory_ / "shop.tapdeck";
  std::ofstream(file) << "what was here before";
  EXPECT_EQ(here({"session", "export", "shop", "-o", file.string()}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("exists; choose another file, or replace it with --force"));
  EXPECT_EQ(here({"session", "export", "nope", "--force", "-o", file.string()}), kExitFailure);
  EXPECT_EQ(std::filesystem::file_size(file), 20U) << "a failure leaves what was there";
  ASSERT_EQ(here({"session", "export", "shop", "--force", "--json", "-o", file.string()}), kExitOk) << err_.str();
  EXPECT_EQ(Json::parse(out_.str())["file"], file.string());
  EXPECT_EQ(here({"session", "import", file.string(), "--name", "copy"}), kExitOk) << err_.str();
  EXPECT_EQ(here({"session", "export", "shop", "--force", "-o", "/dev/null"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("/dev/null is no regular file"));
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path()))
    EXPECT_FALSE(entry.path().filename().string().contains("unfinished")) << entry.path();
}

TEST_F(CliTest, ConfigCheckNamesThePlace) {
  std::ofstream(config_) << "[storage]\ndurabilty = \"wal\"\n";
  EXPECT_EQ(here({"config", "check"}), kExitFailure);
  EXPECT_THAT(err_.str(),
              HasSubstr("empty.toml:2:1: unknown key 'durabilty' in [storage]; did you mean 'durability'?"));
  EXPECT_EQ(here({"session", "list"}), kExitFailure);  // every command says so
  std::ofstream(config_) << "[proxy]\nmode = \"replay\"\n";
  EXPECT_EQ(here({"config", "check"}), kExitOk);
  EXPECT_EQ(here({"config", "show"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("mode = \"replay\""));
  EXPECT_EQ(call({"config", "check", "--config", "/nonexistent"}), kExitFailure);
  std::ofstream(config_) << "[[targets]]\ncontainer = \"web\"\n[[routes]]\ntarget = \"wep\"\n";
  EXPECT_EQ(here({"config", "check"}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("empty.toml:4:10: warning: target in [[routes]]: no [[targets]] is called 'wep'"));
  EXPECT_EQ(here({"config", "check", "--json"}), kExitOk);
  EXPECT_THAT(Json::parse(out_.str())["warnings"][0], HasSubstr("did you mean 'web'?"));
  std::ofstream(config_) << "[tls]\nupstream_ca = [\"/nonexistent.pem\"]\n";
  EXPECT_EQ(here({"config", "check"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("/nonexistent.pem"));
}

TEST_F(CliTest, ADaemonThatLivesButCannotBeReachedIsNamed) {
  const std::filesystem::path state = directory_ / "state";
  std::filesystem::create_directories(state);
  store::StoreOptions options;
  options.path = (state / "store").string();
  options.admin_socket = (directory_ / "gone.sock").string();
  auto daemon = store::ExchangeStore::open(options, store::Access::ReadWrite);
  ASSERT_TRUE(daemon) << daemon.error().message();
  EXPECT_EQ(here({"status", "--json"}), kExitOk) << err_.str();
  const Json status = Json::parse(out_.str());
  EXPECT_EQ(status["running"], true);
  EXPECT_EQ(status["pid"], ::getpid());
  EXPECT_THAT(status["reason"], HasSubstr("gone.sock"));
  EXPECT_EQ(call({"detach", "web", "--state-dir", state.string(), "--config", config_.string()}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("process " + std::to_string(::getpid())));
  daemon->reset();
  EXPECT_EQ(here({"status", "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(Json::parse(out_.str())["running"], false);
}

}  // namespace
}  // namespace tapdeck::app
