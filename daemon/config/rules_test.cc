// Rules that could never match, and names that are not one: refused, or doubted, with what to write instead.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/config/config.h"

namespace tapdeck::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string problem(std::string_view text) {
  const auto config = parse(text, "t.toml", "/etc/tapdeck");
  return config ? "" : config.error().detail;
}

std::vector<std::string> warnings(std::string_view text) {
  const auto config = parse(text, "t.toml", "/etc/tapdeck");
  return config ? config->warnings : std::vector{config.error().detail};
}

TEST(Rules, UpstreamHttpOfTlsCannotDependOnTheRequest) {
  for (const std::string condition :
       {"path = \"/a\"", "path_prefix = \"/a\"", "method = \"GET\"", "path = \"/a\"\nmethod = \"GET\""}) {
    const std::string route = "[[routes]]\nupstream_http = \"2\"\n" + condition + '\n';
    EXPECT_THAT(
        problem(route + "scheme = \"https\"\n"),
        HasSubstr("t.toml:2:17: upstream_http in [[routes]] with scheme = \"https\": what TLS connections speak "
                  "is settled before there is a request, so leave path"));
    EXPECT_EQ(problem(route + "scheme = \"http\"\n"), "");
    EXPECT_EQ(problem(route + "scheme = \"https\"\nupstream = \"https://a.test\"\n"), "");
  }
  EXPECT_EQ(problem("[[routes]]\nscheme = \"https\"\nhost = \"a.test\"\nport = 443\nupstream_http = \"2\"\n"), "");
}

TEST(Rules, ARouteWithAnUpstreamIsForClientsOfTheProxy) {
  const std::string route = "[[targets]]\nunit = \"web\"\n[[routes]]\nupstream = \"http://a.test\"\n";
  EXPECT_THAT(problem(route + "target = \"web\"\n"),
              HasSubstr("t.toml:5:10: target in [[routes]]: a route with an up"));
  EXPECT_EQ(problem(route + "target = \"explicit\"\n"), "");
}

TEST(Rules, RoutesHaveNamesOfTheirOwn) {
  EXPECT_EQ(problem("[[routes]]\nname = \"a\"\n[[routes]]\nname = \"a\"\n"),
            "t.toml:4:8: two routes are named 'a'; give one a name of its own");
  EXPECT_EQ(problem("[[routes]]\nname = \"route 2\"\n[[routes]]\n"),
            "t.toml:3:1: two routes are named 'route 2'; give one a name of its own");
  EXPECT_THAT(problem("[[routes]]\nname = \"\"\n"), HasSubstr("t.toml:2:8: name in [[routes]]: must not be empty"));
  EXPECT_EQ(problem("[[routes]]\n[[routes]]\nname = \"a\"\n[[routes]]\n"), "");
}

TEST(Rules, ThereAreAsManyTargetsAsSlots) {
  std::string targets;
  for (uint32_t i = 0; i < kMostTargets; ++i) targets += "[[targets]]\nunit = \"u" + std::to_string(i) + "\"\n";
  EXPECT_EQ(problem(targets), "");
  EXPECT_EQ(problem(targets + "[[targets]]\nunit = \"x\"\n[[targets]]\nunit = \"y\"\n"),
            "t.toml:125:1: [[targets]]: there are 62 at most, and this is one more; a cgroup above several captures "
            "them as one");
}

TEST(Rules, TargetsHaveNamesOfTheirOwn) {
  EXPECT_EQ(problem("[[targets]]\nunit = \"a\"\n[[targets]]\nunit = \"b\"\nname = \"a\"\n"),
            "t.toml:5:8: two targets are named 'a'; give one a name of its own");
  EXPECT_THAT(problem("[[targets]]\nunit = \"a\"\nname = \"explicit\"\n"),
              HasSubstr("t.toml:3:8: a target cannot be called 'explicit', which the clients of proxy.listen are"));
  EXPECT_THAT(problem("[[targets]]\ncontainer = \"explicit\"\n"), HasSubstr("t.toml:1:1: a target cannot be called"));
}

TEST(Rules, ASocketsPathHasABound) {
  const auto socket = [](const std::string& path) { return problem("[admin]\nsocket = \"" + path + "\"\n"); };
  EXPECT_EQ(socket('/' + std::string(106, 'a')), "");
  EXPECT_THAT(socket('/' + std::string(107, 'a')),
              HasSubstr("t.toml:2:10: socket in [admin]: is 108 bytes long; the path of a socket has 107 at most"));
  EXPECT_THAT(socket(std::string(100, 'a')), HasSubstr("is 113 bytes long"));  // /etc/tapdeck/ before it
}

TEST(Rules, AnUnknownTargetIsDoubted) {
  const std::string web = "[[targets]]\ncontainer = \"web\"\n[[routes]]\ntarget = ";
  EXPECT_THAT(warnings(web + "\"wep\"\n"), ElementsAre("t.toml:4:10: warning: target in [[routes]]: no [[targets]] is "
                                                       "called 'wep'; did you mean 'web'?"));
  EXPECT_THAT(warnings(web + "\"elsewhere\"\n"), ElementsAre(HasSubstr("nothing matches until one is attached")));
  for (const char* known : {"\"web\"\n", "\"explicit\"\n", "\"run\"\n"}) EXPECT_THAT(warnings(web + known), IsEmpty());
}

TEST(Rules, APatternInAPathIsDoubted) {
  EXPECT_THAT(warnings("[[routes]]\nname = \"x\"\n[[routes]]\npath = \"/v1/*\"\n"),
              ElementsAre("t.toml:4:8: warning: path in [[routes]]: '*' stands for itself here; path_prefix = \"/v1/\" "
                          "is all that begins so"));
}

TEST(Rules, AnUpstreamWithoutAListenerIsDoubted) {
  const std::string route = "[[routes]]\nupstream = \"http://a.test\"\n";
  EXPECT_THAT(warnings(route),
              ElementsAre(HasSubstr("t.toml:2:12: warning: upstream in [[routes]]: proxy.listen is off")));
  EXPECT_THAT(warnings(route + "[proxy]\nlisten = \"off\"\n"), ::testing::SizeIs(1));
  EXPECT_THAT(warnings(route + "[proxy]\nlisten = \"127.0.0.1:8080\"\n"), IsEmpty());
}

}  // namespace
}  // namespace tapdeck::config
