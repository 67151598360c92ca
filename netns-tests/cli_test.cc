// The command line against a live daemon, and its bad days: one clear line each and a non-zero status.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

TEST(Cli, ListsShowsSearchesExportsAndDeletesRecordings) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt,
                        answers({{"/a", ok_response("needle")}, {"/b", ok_response("hay")}}));
  for (const auto* path : {"/a", "/b"}) {
    ASSERT_EQ(raw_tcp(captured.seat(), kOriginV4, 80, get_request(path)).status, 0);
  }
  const auto& daemon = captured.daemon();
  const auto list = nlohmann::json::parse(daemon.must_cli({"recording", "list", "--json"}));
  ASSERT_EQ(list["items"].size(), 2U) << list;
  EXPECT_THAT(daemon.must_cli({"session", "list"}), HasSubstr("default"));
  const auto search = [&](const std::string& text) {
    return nlohmann::json::parse(daemon.must_cli({"recording", "search", text, "--json"}))["items"];
  };
  const auto found = search("body:needle");
  ASSERT_EQ(found.size(), 1U) << found;
  EXPECT_THAT(found[0]["url"].get<std::string>(), ::testing::EndsWith("/a"));
  EXPECT_EQ(search(found[0]["url"].get<std::string>()), found);
  EXPECT_TRUE(search("body:thimble").empty());
  const auto id = found[0]["id"];
  const auto id_text = id.is_string() ? id.get<std::string>() : id.dump();
  EXPECT_EQ(daemon.must_cli({"recording", "show", id_text, "--body"}), "needle");
  const auto file = (captured.lab().directory() / "export.tapdeck").string();
  daemon.must_cli({"session", "export", "default", "-o", file});
  EXPECT_GT(std::filesystem::file_size(file), 100U);
  daemon.must_cli({"recording", "delete", id_text});
  EXPECT_TRUE(search("body:needle").empty());
  EXPECT_EQ(captured.recordings(), 1U);
}

TEST(Cli, EverythingThatListsSpeaksJson) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/a", ok_response("x")}}));
  ASSERT_EQ(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/a")).status, 0);
  const auto json_of = [&](std::vector<std::string> words) {
    words.emplace_back("--json");
    return nlohmann::json::parse(captured.daemon().must_cli(words), nullptr, false);
  };
  const std::vector<std::vector<std::string>> lists = {
      {"targets"}, {"session", "list"}, {"recording", "list"}, {"doctor"}, {"recording", "search", "origin"}};
  for (const auto& words : lists) {
    const auto page = json_of(words);
    ASSERT_TRUE(page.is_object() && page["items"].is_array()) << words.back() << page;
    EXPECT_FALSE(page["items"].empty()) << words.back();
    EXPECT_TRUE(page.contains("next")) << words.back();
  }
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"session", "show", "default"}, {"mode", "show"}, {"status"}, {"ca", "show"}, {"config", "check"}}) {
    EXPECT_TRUE(json_of(words).is_object()) << words.front();
  }
}

TEST(Cli, AStateDirectoryThatARunUsedIsNotTakenForTheDaemons) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/a", ok_response("x")}}));
  ASSERT_EQ(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/a")).status, 0);
  const auto other = (captured.lab().directory() / "other").string();
  const auto cli = [&](std::vector<std::string> words) {
    words.insert(words.begin(), tapdeck_binary());
    words.insert(words.end(), {"--config", captured.daemon().config(), "--state-dir", other});
    return run_to_end({.argv = words, .netns = &captured.lab().gw()});
  };
  const auto ran = run_to_end({.argv = {tapdeck_binary(), "run", "--config", captured.daemon().config(), "--state-dir",
                                        other, "--session", "shop", "--", "true"},
                               .netns = &captured.lab().gw()});
  ASSERT_EQ(ran.status, 0) << ran.err;
  ASSERT_EQ(cli({"session", "create", "shop"}).status, 0) << "a run that records nothing made none";
  EXPECT_THAT(cli({"session", "list"}).out, ::testing::AllOf(HasSubstr("shop"), ::testing::Not(HasSubstr("default"))));
  EXPECT_EQ(cli({"session", "delete", "shop", "--yes"}).status, 0);
  EXPECT_EQ(captured.recordings(), 1U) << "the daemon's own";
}

// In a mount namespace with stores of its own, so that this host keeps its own.
TEST(Cli, CaInstallMakesClientsOfThisHostTrustUsUntilItIsRemoved) {
  Topology lab;
  const auto place = lab.directory().path().string();
  const auto state = " --state-dir " + place + "/state";
  const auto tapdeck = tapdeck_binary().string();
  const auto trusted = "openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt " + place + "/state/ca.pem";
  const auto output =
      run_to_end({.argv = {"unshare", "-m", "--propagation", "private", "sh", "-ec",
                           "mount -t tmpfs none /usr/local/share/ca-certificates; cp -a /etc/ssl/certs " + place +
                               "/certs; mount --bind " + place + "/certs /etc/ssl/certs; " + tapdeck + " ca install" +
                               state + "; " + trusted + "; " + tapdeck + " ca install --remove" + state + "; if " +
                               trusted + "; then echo still trusted; exit 9; fi"}});
  EXPECT_EQ(output.status, 0) << output.out << output.err;
}

TEST(Cli, UnknownConfigKeyNamesLineColumnAndTheNearestKey) {
  Topology lab;
  const auto file = (lab.directory() / "bad.toml").string();
  write_file(file, "[limits]\nheader_timeot = \"1s\"\n");
  const auto output = run_to_end({.argv = {tapdeck_binary(), "config", "check", "--config", file}});
  EXPECT_NE(output.status, 0);
  EXPECT_THAT(output.err, HasSubstr("bad.toml:2:1"));
  EXPECT_THAT(output.err, HasSubstr("header_timeout"));
}

TEST(Cli, SecondDaemonOnTheSameStateDirectorySaysWhoHoldsIt) {
  Topology lab;
  DaemonProcess daemon(lab);
  auto config = read_file(daemon.config());
  config.replace(config.find("admin.sock"), 10, "other.sock");
  config.replace(config.find("[admin]\n"), 8, "[admin]\nlisten = \"127.0.0.1:9910\"\n");
  const auto file = (lab.directory() / "second.toml").string();
  write_file(file, config);
  const auto output = run_to_end({.argv = {tapdeck_binary(), "serve", "--config", file}, .netns = &lab.gw()});
  EXPECT_NE(output.status, 0);
  EXPECT_THAT(output.err + output.out, HasSubstr("open for writing in process " + std::to_string(daemon.pid())));
}

TEST(Cli, DoctorSaysWhichPathsThisHostHas) {
  Topology lab;
  const auto output = run_to_end({.argv = {tapdeck_binary(), "doctor"}, .netns = &lab.gw()});
  for (const auto* path : {"cgroup_capture", "tc_capture", "netns_capture"}) EXPECT_THAT(output.out, HasSubstr(path));
  EXPECT_EQ(output.status, 0) << output.out << output.err;
}

}  // namespace
}  // namespace tapdeck::lab
