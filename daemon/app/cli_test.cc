#include <fcntl.h>
#include <unistd.h>

#include "daemon/app/cli_rig.h"
#include "daemon/app/output.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(CliTest, RunPassesTheCommandUntouched) {
  EXPECT_EQ(
      call({"run", "--session", "s", "--mode", "passthrough-cache", "--sealed", "--", "curl", "--session", "--", "x"}),
      42);
  EXPECT_THAT(run_.argv, ElementsAre("curl", "--session", "--", "x"));
  EXPECT_EQ(run_.session, "s");
  EXPECT_EQ(run_.mode, Mode::Hybrid);
  EXPECT_TRUE(run_.sealed);
  EXPECT_FALSE(run_.fail_on_miss);
}

TEST_F(CliTest, RunWithoutDashesBeginsItsCommandAtTheFirstWord) {
  EXPECT_EQ(call({"run", "--session", "s", "curl", "-v", "https://x"}), 42);
  EXPECT_THAT(run_.argv, ElementsAre("curl", "-v", "https://x"));
}

TEST_F(CliTest, FailOnMissHasADefaultStatusAndTakesAnother) {
  EXPECT_EQ(call({"run", "--fail-on-miss", "--", "true"}), 42);
  EXPECT_EQ(run_.fail_on_miss, 3);
  EXPECT_EQ(call({"run", "--fail-on-miss=9", "--", "true"}), 42);
  EXPECT_EQ(run_.fail_on_miss, 9);
}

TEST_F(CliTest, FailOnMissSaysHowItsStatusIsWritten) {
  EXPECT_EQ(call({"run", "--fail-on-miss=1", "--", "true"}), 42);
  EXPECT_EQ(run_.fail_on_miss, 1);
  const std::vector<std::vector<std::string>> apart = {{"run", "--fail-on-miss", "5", "--", "true"},
                                                       {"run", "--fail-on-miss", "5", "make", "test"}};
  for (const auto& arguments : apart) {
    EXPECT_EQ(call(arguments), 125);
    EXPECT_THAT(err_.str(), HasSubstr("is written behind an equals sign: --fail-on-miss=5"));
  }
  for (const std::string value : {"abc", "0", "256", "-1", "3x", "true"}) {
    EXPECT_EQ(call({"run", "--fail-on-miss=" + value, "--", "true"}), 125) << value;
    EXPECT_THAT(err_.str(), HasSubstr("'" + value + "' is not an exit status of 1 to 255, as in --fail-on-miss=5"));
  }
  EXPECT_EQ(call({"run", "--fail-on-miss", "make", "test"}), 42);
  EXPECT_EQ(call({"run", "make", "--fail-on-miss", "5"}), 42) << "it is make's own";
}

TEST_F(CliTest, RunMayBeToldWhatToMakeOfRefusedConnects) {
  EXPECT_EQ(call({"run", "--", "true"}), 42);
  EXPECT_EQ(run_.replay_refused, "") << "the configuration says";
  EXPECT_EQ(call({"run", "--replay-refused", "refuse", "--", "true"}), 42);
  EXPECT_EQ(run_.replay_refused, "refuse");
  EXPECT_EQ(call({"run", "--replay-refused", "drop", "--", "true"}), 125);
}

TEST_F(CliTest, UpstreamCaTakesOneFileAndMayBeRepeated) {
  EXPECT_EQ(call({"run", "--upstream-ca", "a.pem", "make", "test"}), 42) << err_.str();
  EXPECT_THAT(run_.argv, ElementsAre("make", "test"));
  EXPECT_EQ(call({"run", "--upstream-ca", "a.pem", "--upstream-ca", "b.pem", "--", "true"}), 42) << err_.str();
  EXPECT_THAT(run_.upstream_ca, ElementsAre("a.pem", "b.pem"));
}

TEST_F(CliTest, RunsOwnMistakesEndWith125) {
  EXPECT_EQ(call({"run"}), 125);
  EXPECT_EQ(call({"run", "--sesion", "s", "--", "true"}), 125);
  EXPECT_THAT(err_.str(), HasSubstr("unknown flag '--sesion' for tapdeck run; did you mean '--session'?"));
  EXPECT_EQ(call({"run", "--mode", "recrod", "--", "true"}), 125);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean 'record'?"));
}

TEST_F(CliTest, UnknownSubcommandsAndFlagsNameTheNearest) {
  EXPECT_EQ(call({"sesion"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("unknown subcommand 'sesion' for tapdeck; did you mean 'session'?"));
  EXPECT_EQ(call({"session", "lst"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("unknown subcommand 'lst' for tapdeck session; did you mean 'list'?"));
  EXPECT_EQ(call({"session", "rename"}), kExitUsage);
  EXPECT_THAT(err_.str(), ::testing::Not(HasSubstr("did you mean"))) << "nothing is called like that";
  EXPECT_EQ(call({"attach", "--contaner", "x"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean '--container'?"));
}

TEST_F(CliTest, AnUnknownSubcommandIsOneThoughHelpIsAskedFor) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"sesion", "--help"}, {"help", "sesion"}, {"--help", "sesion"}, {"session", "lst", "--help"}}) {
    EXPECT_EQ(call(words), kExitUsage) << words[0];
    EXPECT_THAT(err_.str(), HasSubstr("unknown subcommand"));
    EXPECT_EQ(out_.str(), "");
  }
}

TEST_F(CliTest, AFlagBeforeTheSubcommandIsSaidToBelongBehindIt) {
  for (const std::string flag : {"--json", "--config", "--state-dir", "--session"}) {
    EXPECT_EQ(call({flag, "x", "status"}), kExitUsage);
    EXPECT_THAT(err_.str(), HasSubstr("'" + flag +
                                      "' for tapdeck; flags are written behind the subcommand: tapdeck "
                                      "SUBCOMMAND " +
                                      flag));
  }
  EXPECT_EQ(call({"--session", "s", "run", "--", "true"}), 125);
  EXPECT_EQ(call({"--version"}), kExitOk);
  EXPECT_EQ(call({"--help"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("Exit status"));
}

TEST_F(CliTest, AMisspeltFlagBeforeTheSubcommandNamesTheNearest) {
  EXPECT_EQ(call({"--verson"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("unknown flag '--verson' for tapdeck; did you mean '--version'?"));
  EXPECT_THAT(err_.str(), ::testing::Not(HasSubstr("SUBCOMMAND --verson")));
  EXPECT_EQ(call({"--hlep", "status"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean '--help'?"));
  EXPECT_EQ(call({"--sesion=s", "run", "--", "true"}), 125);
  EXPECT_THAT(err_.str(), HasSubstr("unknown flag '--sesion' for tapdeck; did you mean '--session', which is written "
                                    "behind the subcommand?"));
  EXPECT_EQ(call({"--frobnicate", "status"}), kExitUsage);
  EXPECT_EQ(err_.str(), "tapdeck: unknown flag '--frobnicate' for tapdeck (tapdeck --help)\n");
}

TEST_F(CliTest, WhatEverySubcommandOfAGroupTakesMayStandBeforeIt) {
  ASSERT_EQ(here({"session", "create", "shop"}), kExitOk) << err_.str();
  const std::string state = (directory_ / "state").string();
  EXPECT_EQ(call({"session", "--state-dir", state, "--config", config_.string(), "--json", "list"}), kExitOk)
      << err_.str();
  EXPECT_EQ(Json::parse(out_.str())["items"][0]["name"], "shop");
  EXPECT_EQ(call({"recording", "--session", "s", "list"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("flag '--session' belongs behind 'tapdeck recording list'"));
  EXPECT_EQ(call({"session", "--help"}), kExitOk);
  EXPECT_THAT(out_.str(), ::testing::Not(HasSubstr("--state-dir"))) << "each of them shows it";
}

TEST_F(CliTest, MissingAndContradictingArgumentsAreUsageErrors) {
  EXPECT_EQ(call({}), kExitUsage);
  EXPECT_EQ(call({"session"}), kExitUsage);
  EXPECT_EQ(call({"session", "create"}), kExitUsage);
  EXPECT_EQ(call({"attach"}), kExitUsage);
  EXPECT_EQ(call({"attach", "--pid", "1", "--unit", "u"}), kExitUsage);
  EXPECT_EQ(call({"attach", "--unit", ""}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("must not be empty"));
  EXPECT_EQ(call({"recording", "show", "1", "--request"}), kExitUsage);
  EXPECT_EQ(call({"recording", "show", "1", "--body", "--json"}), kExitUsage) << "a body is not JSON";
  EXPECT_EQ(call({"run", "--summary", "", "--", "true"}), 125);
  EXPECT_THAT(err_.str(), HasSubstr("must not be empty"));
  EXPECT_EQ(call({"recording", "list", "--limit", "0"}), kExitUsage);
}

TEST_F(CliTest, AnEmptyNameIsAMistakeAndStandsForNothing) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"mode", "set", "record", "--target", ""},
                                             {"session", "activate", "s", "--target", ""},
                                             {"session", "activate", "--default", "--target", ""},
                                             {"session", "rewind", "s", "--target", ""},
                                             {"session", "show", ""},
                                             {"session", "names", ""},
                                             {"session", "import", "f", "--name", ""},
                                             {"session", "export", "s", "-o", ""},
                                             {"recording", "list", "--session", ""},
                                             {"detach", ""},
                                             {"attach", "--pid", "1", "--session", ""},
                                             {"attach", "--pid", "1", "--name", ""},
                                             {"ca", "export", "-o", ""},
                                             {"status", "--config", ""},
                                             {"session", "--state-dir", "", "list"},
                                             {"serve", "--config", ""}}) {
    EXPECT_EQ(call(words), kExitUsage) << words[0] << " " << words[1];
    EXPECT_THAT(err_.str(), HasSubstr("must not be empty")) << words[0] << " " << words[1];
  }
  EXPECT_EQ(call({"run", "--session", "", "--", "true"}), 125);
  EXPECT_EQ(call({"run", "--config", "", "--", "true"}), 125);
  EXPECT_THAT(err_.str(), HasSubstr("must not be empty"));
}

TEST_F(CliTest, OnlyATargetFollowsTheDaemonAgain) {
  EXPECT_EQ(call({"mode", "set", "default"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("--target is required"));
  EXPECT_EQ(call({"session", "activate", "--default"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("--default requires --target"));
  EXPECT_EQ(call({"session", "activate", "shop", "--default", "--target", "web"}), kExitUsage);
  EXPECT_EQ(call({"session", "activate", "--target", "web"}), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("NAME is required"));
  EXPECT_EQ(call({"run", "--mode", "default", "--", "true"}), 125) << "a run has no daemon to follow";
  for (std::vector<std::string> words : std::vector<std::vector<std::string>>{
           {"mode", "set", "default", "--target", "web"}, {"session", "activate", "--default", "--target", "web"}}) {
    EXPECT_EQ(here(words), kExitFailure);
    EXPECT_THAT(err_.str(), HasSubstr("tapdeck serve")) << "it asks the daemon";
  }
}

TEST_F(CliTest, HelpTeachesByExample) {
  EXPECT_EQ(call({"--help"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("tapdeck run --session shop -- curl"));
  EXPECT_EQ(call({"attach", "--help"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("tapdeck attach --container web"));
  EXPECT_EQ(call({"help", "session", "export"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("--output"));
  EXPECT_THAT(out_.str(), HasSubstr("Usage: tapdeck session export [OPTIONS] NAME"));
  EXPECT_THAT(out_.str(), ::testing::Not(HasSubstr("Examples"))) << "those of its parent teach nothing here";
  EXPECT_EQ(call({"run", "--help"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("Usage: tapdeck run [OPTIONS] -- CMD [ARG...]"));
  EXPECT_THAT(out_.str(), HasSubstr("--fail-on-miss[=3] "));
}

TEST_F(CliTest, EverySubcommandTakesConfigAndStateDir) {
  for (const std::vector<std::string>& path : std::vector<std::vector<std::string>>{{"run"},
                                                                                    {"serve"},
                                                                                    {"attach"},
                                                                                    {"detach"},
                                                                                    {"targets"},
                                                                                    {"session", "list"},
                                                                                    {"session", "create"},
                                                                                    {"session", "show"},
                                                                                    {"session", "names"},
                                                                                    {"session", "activate"},
                                                                                    {"session", "rewind"},
                                                                                    {"session", "delete"},
                                                                                    {"session", "export"},
                                                                                    {"session", "import"},
                                                                                    {"recording", "list"},
                                                                                    {"recording", "show"},
                                                                                    {"recording", "search"},
                                                                                    {"recording", "delete"},
                                                                                    {"mode", "show"},
                                                                                    {"mode", "set"},
                                                                                    {"ca", "init"},
                                                                                    {"ca", "show"},
                                                                                    {"ca", "export"},
                                                                                    {"ca", "install"},
                                                                                    {"config", "check"},
                                                                                    {"config", "show"},
                                                                                    {"doctor"},
                                                                                    {"clean"},
                                                                                    {"version"},
                                                                                    {"status"}}) {
    auto arguments = path;
    arguments.emplace_back("--help");
    EXPECT_EQ(call(arguments), kExitOk);
    EXPECT_THAT(out_.str(), HasSubstr("--state-dir")) << path.back();
    EXPECT_THAT(out_.str(), HasSubstr("--config")) << path.back();
  }
}

TEST_F(CliTest, ServeGetsItsFiles) {
  EXPECT_EQ(call({"serve", "--config", "c", "--state-dir", "d"}), 43);
  EXPECT_EQ(serve_.config_file, "c");
  EXPECT_EQ(serve_.state_dir, "d");
}

TEST_F(CliTest, CleanAfterAServiceThatFailedSaysWhatIsRefusedMeanwhile) {
  const auto kernel = directory_ / "kernel";
  std::filesystem::create_directories(kernel);
  ::setenv("RUNTIME_DIRECTORY", directory_.path().c_str(), 1);
  ::setenv("SERVICE_RESULT", "exit-code", 1);
  EXPECT_EQ(here({"clean"}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("'exit-code'; it left nothing in the kernel"));
  std::ofstream(kernel / "filter-1") << "record\n";
  EXPECT_EQ(here({"clean"}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("fail-closed targets stay refused until it runs again"));
  std::ofstream(kernel / "pins") << (kernel / "bpf").string() << '\n';  // no bpffs: it went with its mount namespace
  EXPECT_EQ(here({"clean"}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("FAIL-CLOSED TARGETS ARE OPEN"));
  EXPECT_TRUE(std::filesystem::exists(kernel / "filter-1")) << "the next start takes it over";
  ::unsetenv("SERVICE_RESULT");
  std::filesystem::remove(kernel / "pins");
  EXPECT_EQ(here({"clean"}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("removed what was left in " + directory_.path() + ": what refused"));
  EXPECT_EQ(here({"clean"}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("nothing was left in " + directory_.path()));
  ::unsetenv("RUNTIME_DIRECTORY");
}

TEST_F(CliTest, EmptyStateDirectoryListsNothingAndSaysHowToBegin) {
  EXPECT_EQ(here({"session", "list", "--json"}), kExitOk);
  EXPECT_EQ(out_.str(), "{\"items\":[],\"next\":null}\n");
  EXPECT_EQ(here({"recording", "list"}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("tapdeck run --"));
  EXPECT_EQ(here({"session", "show", "x"}), kExitFailure);
}

TEST_F(CliTest, SessionsLiveWithoutADaemon) {
  EXPECT_EQ(here({"session", "create", "shop"}), kExitOk) << err_.str();
  EXPECT_EQ(here({"session", "create", "shop"}), kExitFailure);
  EXPECT_EQ(here({"session", "activate", "shop"}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("runs take --session"));
  EXPECT_EQ(here({"session", "rewind", "shop"}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("nothing to rewind"));
  EXPECT_EQ(here({"session", "list", "--json"}), kExitOk) << err_.str();
  const Json list = Json::parse(out_.str());
  ASSERT_EQ(list["items"].size(), 1u);
  EXPECT_EQ(list["items"][0]["name"], "shop");
  EXPECT_EQ(list["items"][0]["active"], true);
  EXPECT_EQ(here({"session", "show", "shpo"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("shop"));
  const UniqueFd terminal(::dup(0));
  const UniqueFd nobody(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_GE(::dup2(nobody.get(), 0), 0);
  EXPECT_EQ(here({"session", "delete", "shop"}), kExitOk) << "a script is not asked: " << err_.str();
  ::dup2(terminal.get(), 0);
  EXPECT_THAT(out_.str(), HasSubstr("the active one is 'default' again"));
  EXPECT_EQ(here({"session", "list", "--json"}), kExitOk);
  EXPECT_TRUE(Json::parse(out_.str())["items"].empty());
  EXPECT_EQ(here({"session", "create", "shop"}), kExitOk);
  EXPECT_EQ(here({"session", "list", "--json"}), kExitOk);
  EXPECT_EQ(Json::parse(out_.str())["items"][0]["active"], false) << "what was deleted is not chosen any more";
}

TEST_F(CliTest, SessionTravelsInOneFile) {
  ASSERT_EQ(here({"session", "create", "shop"}), kExitOk);
  const std::string file = (directory_ / "shop.tapdeck").string();
  ASSERT_EQ(here({"session", "export", "shop", "-o", file}), kExitOk) << err_.str();
  ASSERT_EQ(here({"session", "export", "shop", "-o", "-"}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), ::testing::StartsWith("TAPDECK-SESSION\n"));
  EXPECT_EQ(out_.str().size(), std::filesystem::file_size(file));
  EXPECT_EQ(here({"session", "export", "shop", "-o", file}), kExitFailure);  // never overwritten
  EXPECT_EQ(here({"session", "import", file, "--name", "copy"}), kExitOk) << err_.str();
  EXPECT_EQ(here({"session", "show", "copy"}), kExitOk) << err_.str();
}

TEST_F(CliTest, WhatNeedsADaemonSaysSo) {
  ASSERT_EQ(here({"session", "create", "shop"}), kExitOk);
  EXPECT_EQ(here({"mode", "set", "replay"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("tapdeck serve"));
  EXPECT_EQ(
      call({"attach", "--pid", "1", "--state-dir", (directory_ / "state").string(), "--config", config_.string()}),
      kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("tapdeck serve"));
  EXPECT_EQ(here({"status", "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(Json::parse(out_.str())["running"], false);
}

TEST_F(CliTest, WhereNothingIsRecordedYetWhatNeedsADaemonSaysThat) {
  const std::vector<std::string> place = {"--state-dir", (directory_ / "state").string(), "--config", config_.string()};
  for (std::vector<std::string> asked : std::vector<std::vector<std::string>>{{"attach", "--pid", "1"},
                                                                              {"detach", "web"},
                                                                              {"mode", "set", "replay"},
                                                                              {"mode", "show"},
                                                                              {"session", "rewind", "shop"}}) {
    asked.insert(asked.end(), place.begin(), place.end());
    EXPECT_EQ(call(asked), kExitFailure);
    EXPECT_THAT(err_.str(), HasSubstr("needs a running daemon")) << asked[0];
  }
  EXPECT_EQ(here({"status", "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(Json::parse(out_.str())["reason"], "no daemon runs");
  EXPECT_EQ(here({"targets", "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(out_.str(), "{\"items\":[],\"next\":null}\n");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "state")) << "asking makes nothing";
}

TEST_F(CliTest, RecordedBytesCannotDriveTheTerminal) {
  EXPECT_EQ(cell_of("a\x1b[31mb\"c\\"), "a\\u001b[31mb\"c\\");
  EXPECT_EQ(cell_of("\u009B2J\u0085"), "\\u009b2J\\u0085");
  EXPECT_EQ(dump({{"a", "\u009B2J\x7f"}}), R"({"a":"\u009b2J\u007f"})");
  EXPECT_EQ(cell_of("1\u202Etxt\u2066 \u2013 \u20AC"), "1\\u202etxt\\u2066 \u2013 \u20AC");
}

}  // namespace
}  // namespace tapdeck::app
