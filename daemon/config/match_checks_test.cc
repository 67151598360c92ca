#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/config/config.h"

namespace tapdeck::config {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string problem(const std::string& section, const std::string& line) {
  const auto config = parse(section + '\n' + line + '\n', "t.toml", "/etc/tapdeck");
  return config ? "" : config.error().detail;
}

TEST(MatchChecks, ARoutesHostIsAHostAlone) {
  const auto host = [](const std::string& text) { return problem("[[routes]]", "host = \"" + text + "\""); };
  EXPECT_EQ(host("a.test:80"),
            "t.toml:2:8: host in [[routes]]: is compared with a host name alone and would never match; write host = "
            "\"a.test\", port = 80");
  EXPECT_THAT(host("https://a.test:8443/x/y?z"),
              HasSubstr("host = \"a.test\", port = 8443, scheme = \"https\", path = \"/x/y\""));
  EXPECT_THAT(host("HTTP://u:p@a.test/"), ::testing::EndsWith("write host = \"a.test\", scheme = \"http\""));
  EXPECT_THAT(host("a.test/x"), HasSubstr("host = \"a.test\", path = \"/x\""));
  EXPECT_THAT(host("a.test:*"), ::testing::EndsWith("host = \"a.test\""));
  EXPECT_THAT(host("*:443"), HasSubstr("host = \"*\", port = 443"));
  EXPECT_THAT(host("cafe:80"), HasSubstr("host = \"cafe\", port = 80"));
  EXPECT_THAT(host("[::1]"), ::testing::EndsWith("host = \"::1\""));
  EXPECT_THAT(host("[::1]:80"), HasSubstr("host = \"::1\", port = 80"));
  EXPECT_THAT(host("0:0:0:0:0:0:0:1"), HasSubstr("\"::1\""));
  EXPECT_THAT(host("1:2:3"), HasSubstr("neither a host name nor an address"));
  EXPECT_THAT(host("\u00e4.test"), HasSubstr("xn--"));
  EXPECT_THAT(host("a.test "), HasSubstr("white space"));
  EXPECT_THAT(host(".a.test"), HasSubstr("write \"*.a.test\""));
  EXPECT_THAT(host("a..test"), HasSubstr("'..'"));
  EXPECT_THAT(host("a,b"), HasSubstr("is not a host name"));
  EXPECT_THAT(host(""), HasSubstr("must not be empty"));
  for (const char* good : {"a.test", "A.Test", "*.a.test", "*", "my_host", "192.0.2.1", "192.0.2.*", "::1",
                           "2001:DB8::1", "2001:db8:*", "fd00:*", "xn--4ca.test"}) {
    EXPECT_EQ(host(good), "") << good;
  }
}

TEST(MatchChecks, APathIsAPathAsClientsSendIt) {
  for (const std::string key : {"path", "path_prefix"}) {
    const auto path = [&key](const std::string& text) { return problem("[[routes]]", key + " = \"" + text + "\""); };
    EXPECT_THAT(path("/a?b"), StartsWith("t.toml:2:"));
    EXPECT_THAT(path("/a?b"), HasSubstr(key + " in [[routes]]: has a query"));
    EXPECT_THAT(path("/a?b"), HasSubstr("would never match; write \"/a\""));
    EXPECT_THAT(path("/a#b"),
                HasSubstr("has a fragment, which is no part of a path, and would never match; write \"/a\""));
    EXPECT_THAT(path("/a b"), HasSubstr("must be percent-encoded, as clients send it; write \"/a%20b\""));
    EXPECT_THAT(path("/\u00e4"), HasSubstr("write \"/%C3%A4\""));
    EXPECT_THAT(path("/a\\n"), HasSubstr("write \"/a%0A\""));
    EXPECT_THAT(path("a"), HasSubstr("must begin with '/'"));
    EXPECT_THAT(path(""), HasSubstr("must begin with '/'"));
    for (const char* good : {"/", "/a%20b", "/a;b=c,d/~x/@:!$&'()*+", "/a|b"}) EXPECT_EQ(path(good), "") << good;
  }
}

TEST(MatchChecks, AMethodIsWrittenInCapitals) {
  const auto method = [](const std::string& text) { return problem("[[routes]]", "method = \"" + text + "\""); };
  EXPECT_EQ(method("get"),
            "t.toml:2:10: method in [[routes]]: would never match: methods are case-sensitive; write \"GET\"");
  EXPECT_THAT(method("Post"), HasSubstr("write \"POST\""));
  EXPECT_THAT(method("GET, POST"), HasSubstr("one route has one method"));
  EXPECT_THAT(method(""), HasSubstr("must not be empty"));
  for (const char* good : {"GET", "M-SEARCH", "QUERY", "X_1"}) EXPECT_EQ(method(good), "") << good;
}

TEST(MatchChecks, ARedactedParameterIsANameAsApplicationsReadIt) {
  const auto query = [](const std::string& text) { return problem("[redact]", "query = [\"ok\", \"" + text + "\"]"); };
  EXPECT_EQ(query("*"),
            "t.toml:2:16: query in [redact]: has a '*' in it, but there are no patterns here; name each parameter");
  EXPECT_THAT(query("token "), HasSubstr("has white space around it, which names are read without; write \"token\""));
  EXPECT_THAT(query("\\ttoken"), HasSubstr("write \"token\""));
  EXPECT_THAT(query("a\\u0001b"), HasSubstr("control byte"));
  EXPECT_THAT(query(""), HasSubstr("must not be empty"));
  EXPECT_THAT(query(" "), HasSubstr("must not be empty"));
  for (const char* good : {"token", "Token", "api key", "a[b]", "x-y.z", "\u00fc", "100%"})
    EXPECT_EQ(query(good), "") << good;
}

TEST(MatchChecks, ARedactedParameterThatIsSeldomFoundIsDoubted) {
  const auto doubt = [](const std::string& text) {
    const auto config = parse("[redact]\nquery = [\"ok\", \"" + text + "\"]\n", "t.toml", "/etc/tapdeck");
    if (!config) return config.error().detail;
    return config->warnings.empty() ? "" : config->warnings.front();
  };
  EXPECT_EQ(doubt("filter/token"),
            "t.toml:2:16: warning: query in [redact]: has a '/' in it, behind which a name begins: it is found only "
            "where that is encoded in the URL, %2F");
  EXPECT_THAT(doubt("a&b"), ::testing::EndsWith("%26"));
  EXPECT_THAT(doubt("a=b"), HasSubstr("where a name ends"));
  for (const char* name : {"a;b", "#b", "b?", "!b"}) EXPECT_THAT(doubt(name), HasSubstr("a name begins")) << name;
  EXPECT_THAT(doubt("api+key"), HasSubstr("a space in a query"));
  EXPECT_THAT(doubt("api%20key"), HasSubstr("\"%20\" in it, but is compared with decoded names"));
  EXPECT_THAT(doubt("x-*"), HasSubstr("no patterns"));
  for (const char* good : {"token", "api key", "a[b]", "100%"}) EXPECT_EQ(doubt(good), "") << good;
}

TEST(MatchChecks, ARedactedFieldIsNamedWhole) {
  EXPECT_EQ(problem("[redact]", "headers = [\"X-*\"]"),
            "t.toml:2:12: headers in [redact]: has a '*' in it, but there are no patterns here; name each field");
  EXPECT_THAT(problem("[redact]", "headers = [\"X-Key:\"]"), HasSubstr("is not a header name"));
  EXPECT_THAT(problem("[redact]", "headers = [\"\"]"), HasSubstr("is not a header name"));
  EXPECT_EQ(problem("[redact]", "headers = [\"X-Key\"]"), "");
}

}  // namespace
}  // namespace tapdeck::config
