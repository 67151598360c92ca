// What only the whole file shows: sections in each other's way are refused, keys without effect are doubted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "daemon/base/test_directory.h"
#include "daemon/config/config.h"

namespace tapdeck::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::string problem_of(std::string_view text) {
  const auto config = parse(text, "t.toml", "/etc/tapdeck");
  return config ? "" : config.error().detail;
}

std::vector<std::string> warnings_of(std::string_view text) {
  const auto config = parse(text, "t.toml", "/etc/tapdeck");
  return config ? config->warnings : std::vector{config.error().detail};
}

std::string two_listeners(const std::string& proxy, const std::string& admin) {
  return problem_of("[proxy]\nallow_remote = true\nlisten = \"" + proxy + "\"\n[admin]\nlisten = \"" + admin + "\"\n");
}

TEST(Contradictions, ProxyAndAdminDoNotListenOnTheSamePort) {
  EXPECT_EQ(two_listeners("127.0.0.1:9909", "127.0.0.1:9909"),
            "t.toml:3:10: listen in [proxy]: 127.0.0.1:9909 and listen in [admin], 127.0.0.1:9909, cannot both be "
            "listened on; give one another port");
  EXPECT_THAT(problem_of("[proxy]\nlisten = \"127.0.0.1:9909\"\n"),
              StartsWith("t.toml:2:10: "));  // the admin's default
  EXPECT_NE(two_listeners("0.0.0.0:9909", "127.0.0.1:9909"), "");
  EXPECT_NE(two_listeners("[::]:9909", "127.0.0.1:9909"), "");
  EXPECT_NE(two_listeners("[::]:9909", "[::1]:9909"), "");
  EXPECT_EQ(two_listeners("0.0.0.0:9909", "[::1]:9909"), "");
  EXPECT_EQ(two_listeners("127.0.0.2:9909", "127.0.0.1:9909"), "");
  EXPECT_EQ(two_listeners("127.0.0.1:9909", "off"), "");
  EXPECT_EQ(two_listeners("127.0.0.1:8080", "127.0.0.1:0"), "");
}

std::string upstream(const std::string& listen, const std::string& url) {
  return problem_of("[proxy]\nallow_remote = true\nlisten = \"" + listen + "\"\n[[routes]]\nupstream = \"" + url +
                    "\"\n");
}

TEST(Contradictions, AnUpstreamIsNotTapdeckItself) {
  EXPECT_EQ(upstream("127.0.0.1:8080", "http://127.0.0.1:9909"),
            "t.toml:5:12: upstream in [[routes]]: 'http://127.0.0.1:9909' leads to admin.listen, and tapdeck never "
            "forwards to itself");
  EXPECT_THAT(upstream("127.0.0.1:8080", "http://127.0.0.1:8080"), HasSubstr("leads to proxy.listen"));
  EXPECT_NE(upstream("127.0.0.1:8080", "http://localhost:8080"), "");
  EXPECT_NE(upstream("127.0.0.1:8080", "http://0.0.0.0:8080"), "");
  EXPECT_NE(upstream("0.0.0.0:8080", "http://127.0.0.1:8080"), "");
  EXPECT_NE(upstream("[::]:8080", "https://[::1]:8080"), "");
  EXPECT_NE(upstream("10.0.0.1:80", "http://10.0.0.1"), "");
  EXPECT_EQ(upstream("0.0.0.0:8080", "http://10.0.0.1:8080"), "");  // whose that is, only the host knows
  EXPECT_EQ(upstream("127.0.0.1:8080", "http://127.0.0.1:8081"), "");
  EXPECT_EQ(upstream("127.0.0.1:8080", "http://127.0.0.2:8080"), "");
  EXPECT_EQ(upstream("127.0.0.1:8080", "http://local.test:8080"), "");
}

TEST(Contradictions, AnH2cUpstreamSpeaksNoHttp1) {
  const std::string route = "[proxy]\nlisten = \"127.0.0.1:8080\"\n[[routes]]\nupstream = ";
  EXPECT_EQ(
      problem_of(route + "\"h2c://a.test\"\nupstream_http = \"1.1\"\n"),
      "t.toml:5:17: upstream_http in [[routes]]: \"1.1\" contradicts the upstream 'h2c://a.test', which is HTTP/2; "
      "write 'http://a.test', or leave upstream_http out");
  EXPECT_EQ(problem_of(route + "\"h2c://a.test\"\nupstream_http = \"2\"\n"), "");
  EXPECT_EQ(problem_of(route + "\"http://a.test\"\nupstream_http = \"1.1\"\n"), "");
}

TEST(Contradictions, TheTokenDoesNotReplaceTheSocket) {
  EXPECT_EQ(
      problem_of("[admin]\nsocket = \"/run/x\"\ntoken_file = \"/run//x\"\n"),
      "t.toml:3:14: socket and token_file in [admin] are the same path, where the token would replace the socket");
  EXPECT_EQ(problem_of("[admin]\nsocket = \"/run/x\"\ntoken_file = \"/run/y\"\n"), "");
}

TEST(Contradictions, OneSelectorIsOneTarget) {
  const auto two = [](const std::string& first, const std::string& second) {
    return problem_of("[[targets]]\nname = \"a\"\n" + first + "\n[[targets]]\nname = \"b\"\n" + second + "\n");
  };
  EXPECT_EQ(two("cgroup = \"/a/b\"", "cgroup = \"/a//b/\""),
            "t.toml:6:10: cgroup in [[targets]]: '/a//b/' is captured as target 'a' already; a target has one name, "
            "mode and session");
  EXPECT_NE(two("cgroup = \"a/b\"", "cgroup = \"//a/./b//\""), "");
  EXPECT_NE(two("unit = \"web\"", "unit = \"web.service\""), "");
  EXPECT_NE(two("pid = 7", "pid = \"007\""), "");
  EXPECT_NE(two("container = \"c\"", "container = \"c\""), "");
  EXPECT_NE(two("interface = \"br0\"", "interface = \"br0\""), "");
  EXPECT_EQ(two("cgroup = \"/a/b\"", "cgroup = \"/a/bc\""), "");
  EXPECT_EQ(two("unit = \"web\"", "unit = \"web.slice\""), "");
  EXPECT_EQ(two("container = \"web\"", "unit = \"web\""), "");
  // One problem each: what has no selector is told so, and nothing else.
  EXPECT_EQ(two("", ""),
            "t.toml:1:1: a target needs exactly one of container, unit, cgroup, interface, pid; 0 are given\n"
            "t.toml:4:1: a target needs exactly one of container, unit, cgroup, interface, pid; 0 are given");
}

TEST(Contradictions, KeysWithoutEffectAreDoubted) {
  EXPECT_THAT(warnings_of("[proxy]\nallow = [\"10.0.0.0/8\"]\n"),
              ElementsAre("t.toml:2:9: warning: allow in [proxy] has no effect: listen is off"));
  EXPECT_THAT(warnings_of("[proxy]\nlisten = \"off\"\nallow_remote = true\n"),
              ElementsAre("t.toml:3:16: warning: allow_remote in [proxy] has no effect: listen is off"));
  const std::string socket = "[[routes]]\n[[routes]]\n[routes.websocket]\nignore = [\"$.id\"]\nmode = ";
  EXPECT_THAT(warnings_of(socket + "\"bidirectional\"\n"),
              ElementsAre("t.toml:4:10: warning: ignore in [routes.websocket] has no effect with mode = "
                          "\"bidirectional\", only with \"matched\""));
  EXPECT_THAT(warnings_of(socket + "\"server-only\"\n"), ::testing::SizeIs(1));
  EXPECT_THAT(warnings_of(socket + "\"matched\"\n"), IsEmpty());
}

TEST(Contradictions, SelectorsThatCanMatchNothingAreSaid) {
  EXPECT_THAT(warnings_of("[[targets]]\ncontainer = \"my web\"\n"),
              ElementsAre("t.toml:2:13: warning: container in [[targets]]: no container is called \"my web\": their "
                          "names have letters, digits and . - _ only"));
  EXPECT_EQ(problem_of("[[targets]]\ninterface = \"br-0123456789abc\"\n"),
            "t.toml:2:13: interface in [[targets]]: is 16 bytes long and would never match: names of interfaces have "
            "15 at most");
  EXPECT_EQ(problem_of("[[targets]]\ninterface = \"br-0123456789ab\"\n"), "");
  EXPECT_NE(problem_of("[[targets]]\ninterface = \"br 0\"\n"), "");
  EXPECT_THAT(problem_of("[[targets]]\nunit = \"web-*\"\n"), HasSubstr("is a pattern; a target is one unit"));
}

TEST(Contradictions, FilesThatAreNamedAndMissingAreSaidWithTheRest) {
  const TestDirectory directory;
  const std::filesystem::path file = directory / "named_files.toml";
  std::ofstream(file)
      << "[limits]\nheaders = 1\n[tls]\nupstream_ca = [\"" << file.string()
      << "\", \"/nonexistent/a.pem\"]\n[[routes]]\n[routes.grpc]\nproto_files = [\"/nonexistent\", \"/\"]\n";
  const auto config = load(file);
  ASSERT_FALSE(config);
  const std::string column = std::to_string(20 + file.string().size());
  const std::string at = file.string() + ':';
  EXPECT_EQ(config.error().detail, at + "2:11: headers in [limits]: must be a whole number from 8 to 10000\n" + at +
                                       "4:" + column + ": upstream_ca in [tls]: there is no file /nonexistent/a.pem\n" +
                                       at + "7:16: proto_files in [routes.grpc]: there is no file /nonexistent\n" + at +
                                       "7:32: proto_files in [routes.grpc]: / is a directory, not a file");
  std::ofstream(file) << "[tls]\nupstream_ca = [\"/nonexistent/a.pem\"]\n";
  EXPECT_FALSE(load(file));
  EXPECT_TRUE(load(file, NamedFiles::Any)) << "of who does not read them";
}

}  // namespace
}  // namespace tapdeck::config
