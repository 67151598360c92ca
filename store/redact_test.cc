#include "store/redact.h"

#include <gmock/gmock.h>

namespace tapdeck::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kSecret = "PLANTED";

Redactor redactor() {
  return Redactor({{}, {"token", "access_token"}}, Secret{7});
}

// What is stored of a field.
std::string stored(std::string_view name, const std::string& value) {
  http::Headers headers;
  headers.add(name, value);
  const uint64_t replaced = redactor().redact_headers(headers);
  EXPECT_EQ(headers.size(), 1U);
  const std::string once(headers[0].value);
  EXPECT_EQ(redactor().redact_headers(headers), 0U) << "twice changes nothing: " << once;
  EXPECT_EQ(headers[0].value, once);
  EXPECT_EQ(replaced != 0, once != value);
  return once;
}

std::string target(std::string text) {
  redactor().redact_target(text);
  return text;
}

// Each level of encoding is another pass over what is left: no more than a few are looked into.
TEST(Redactor, UrlsInUrlsInUrlsEndSomewhere) {
  EXPECT_THAT(target("/?next=%2Fcb%3Ftoken%3DPLANTED"), Not(HasSubstr(kSecret)));
  EXPECT_THAT(target("/?next=%2Fa%3Fnext%3D%252Fcb%253Ftoken%253DPLANTED"), Not(HasSubstr(kSecret)));
  std::string deep = "/?";
  for (int i = 0; i < 15000; ++i) deep += "a=";
  deep += '%';
  for (int i = 0; i < 15000; ++i) deep += "25";
  EXPECT_EQ(target(deep), deep);
}

TEST(Redactor, FragmentsAreRedactedAsQueriesAre) {
  EXPECT_THAT(stored("Location", "https://a/cb#state=1&access_token=PLANTED&x=2"),
              ::testing::MatchesRegex("https://a/cb#state=1&access_token=.redacted:[0-9a-f]+.&x=2"));
  EXPECT_THAT(stored("Location", "/cb?token=PLANTED#part"),
              ::testing::MatchesRegex("/cb.token=.redacted:[0-9a-f]+.#part"));
  EXPECT_THAT(target("/#/access_token=PLANTED"), Not(HasSubstr(kSecret)));
  EXPECT_THAT(target("/#!/route?token=PLANTED"), Not(HasSubstr(kSecret)));
  EXPECT_THAT(target("/cb#a?token=PLANTED"), Not(HasSubstr(kSecret)));
  for (const char* same : {"/a#", "/a?", "/a?#", "/a#b?c", "/a?b#c", "/#token", "/?tokens=1", "/token=1"})
    EXPECT_EQ(target(same), same);
}

TEST(Redactor, NamesAreKnownHoweverTheyAreSpelled) {
  for (const char* spelled :
       {"/?+token=PLANTED", "/?token%20=PLANTED", "/?%74oken=PLANTED", "/?token+=PLANTED", "/?%09token=PLANTED",
        "/?token[]=PLANTED", "/?token%5B0%5D=PLANTED", "/?a=1;token=PLANTED", "/?next=/cb?token=PLANTED",
        "/?next=%2Fcb%3Ftoken%3DPLANTED", "/?next=%2Fcb%3Fa%3D1%26token%3DPLANTED"}) {
    EXPECT_THAT(target(spelled), Not(HasSubstr(kSecret))) << spelled;
    KeyParts parts;
    parts.query = std::string(spelled).substr(2);
    redactor().redact(parts);
    EXPECT_THAT(parts.query, Not(HasSubstr(kSecret))) << spelled;
  }
  EXPECT_EQ(target("/?next=%2Fcb%3Fa%3D1"), "/?next=%2Fcb%3Fa%3D1");
}

TEST(Redactor, UrlsInOtherFieldsAreRedactedWhereTheyStand) {
  EXPECT_THAT(stored("Link", "</a?token=PLANTED>; rel=next, <https://u:PLANTED@b/>; rel=prev"),
              ::testing::MatchesRegex("</a.token=.redacted:[0-9a-f]+.>; rel=next, "
                                      "<https://.redacted:[0-9a-f]+.@b/>; rel=prev"));
  EXPECT_THAT(stored("Refresh", "0; url='/a?token=PLANTED'"),
              ::testing::MatchesRegex("0; url='/a.token=.redacted:[0-9a-f]+.'"));
  for (const char* name : {"X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "Referer", "Content-Location"})
    EXPECT_THAT(stored(name, "/a?token=PLANTED"), Not(HasSubstr(kSecret))) << name;
  EXPECT_EQ(stored("X-Else", "/a?token=PLANTED"), "/a?token=PLANTED");
}

TEST(Redactor, ReferencesWithoutASchemeKeepNoPassword) {
  EXPECT_THAT(stored("Location", "//user:PLANTED@h/x"), ::testing::MatchesRegex("//.redacted:[0-9a-f]+.@h/x"));
  EXPECT_THAT(stored("Refresh", "0; url=//user:PLANTED@h/"), ::testing::MatchesRegex("0; url=//.redacted.*@h/"));
  EXPECT_THAT(stored("Link", "<//user:PLANTED@h/>; rel=next"), ::testing::MatchesRegex("<//.redacted.*@h/>; rel=next"));
  EXPECT_EQ(stored("Location", "//h/@x"), "//h/@x");
  EXPECT_EQ(target("//user:pw@h/x"), "//user:pw@h/x") << "a path, where it is a request target";
}

TEST(Redactor, PasswordsOfUrlsThatAreValuesAreNotStoredWhateverNamesAreGiven) {
  const Redactor without_names({}, Secret{7});
  for (const char* same :
       {"/fetch?url=http://user:PLANTED@in.example/&a=1", "/f?next=https%3A%2F%2Fuser%3APLANTED%40h%2F",
        "/f?next=https%3A%2F%2Fu%3APLAN%26TED%40h", "/f?u=//user:PLANTED@h", "/f?http://u:PLANTED@h",
        "/f#u=http://u:PLANTED@h", "/f?a=http://u:PLANTED@h/%3Ftoken=1", "/f?u=http%253A%252F%252Fu%253APLANTED%2540h",
        "http://a:PLANTED@h/?u=http://u:PLANTED@i/"}) {
    std::string text = same;
    EXPECT_GT(without_names.redact_target(text), 0U) << same;
    EXPECT_THAT(text, Not(HasSubstr("PLAN"))) << same;
    const std::string once = text;
    EXPECT_EQ(without_names.redact_target(text), 0U) << "twice changes nothing: " << once;
    EXPECT_EQ(text, once);
    EXPECT_THAT(target(same), Not(HasSubstr("PLAN"))) << same;
    EXPECT_THAT(stored("Referer", same), Not(HasSubstr("PLAN"))) << same;
  }
  EXPECT_THAT(target("/fetch?url=http://user:PLANTED@in.example/&a=1"),
              ::testing::MatchesRegex("/fetch.url=http://.redacted:[0-9a-f]+.&a=1"));
  for (const char* same : {"/?mail=a@b.example", "/?u=http://h/@x", "/?at=%40&n=40", "/?a//b@c"})
    EXPECT_EQ(target(same), same);
}

TEST(Redactor, ATargetOfSlashesTakesNoTimeWorthMentioning) {
  const std::string slashes = "/?a@=" + std::string(1 << 20, '/');
  EXPECT_EQ(target(slashes), slashes);
}

TEST(Redactor, TokensOfWebSocketsAreNotStored) {
  EXPECT_THAT(stored("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.PLANTED, v4.channel.k8s.io"),
              ::testing::MatchesRegex("base64url.bearer.authorization.k8s.io.\\[redacted:[0-9a-f]+\\], "
                                      "v4.channel.k8s.io"));
  EXPECT_THAT(stored("Sec-WebSocket-Protocol", "bearer, PLANTED"), Not(HasSubstr(kSecret)));
  EXPECT_EQ(stored("Sec-WebSocket-Protocol", "graphql-ws, chat"), "graphql-ws, chat");
}

TEST(Redactor, CookiesKeepTheirNamesAndAttributes) {
  const std::string placeholder = "\\[redacted:[0-9a-f]{8}\\]";
  const auto becomes = [&](const std::string& before, const std::string& behind) {
    return ::testing::ContainsRegex("^" + before + placeholder + behind + "$");
  };
  EXPECT_THAT(stored("Set-Cookie", "sid=PLANTED; Path=/; HttpOnly"), becomes("sid=", "; Path=/; HttpOnly"));
  EXPECT_THAT(stored("set-cookie", "sid=\"PLANTED\";secure"), becomes("sid=\"", "\";secure"));
  EXPECT_THAT(stored("Set-Cookie", "sid=\"x;PLANTED\"; Path=/"), becomes("sid=\"", "\"; Path=/"));
  EXPECT_THAT(stored("Set-Cookie", "a = PLANTED=PLANTED ;Expires=Wed, 21 Oct 2026 07:28:00 GMT; max-age = 3"),
              becomes("a = ", " ;Expires=Wed, 21 Oct 2026 07:28:00 GMT; max-age = 3"));
  EXPECT_THAT(stored("Set-Cookie", "PLANTED; Path=/"), becomes("", "; Path=/")) << "without a name";
  EXPECT_THAT(stored("Set-Cookie", "=PLANTED"), becomes("=", ""));
  EXPECT_THAT(stored("Cookie", "a=1; PLANTED=="), becomes("a=" + placeholder + "; ", "")) << "base64 without a name";
  EXPECT_THAT(stored("Cookie", "a=PLANTED;b=\"PLANTED\"; PLANTED"),
              becomes("a=" + placeholder + ";b=\"" + placeholder + "\"; ", ""));
  for (const char* name : {"Set-Cookie", "Cookie"}) {
    for (const char* same : {"", "sid=", "sid=; Max-Age=", "a=\"\"", ";", " ; ", "="})
      EXPECT_EQ(stored(name, same), same);
    EXPECT_EQ(stored(name, "[redacted:7e1c581f]"), "[redacted:7e1c581f]") << "as it was stored before";
  }
  EXPECT_EQ(stored("Set-Cookie", "sid=; Max-Age=0; path=/; Priority="), "sid=; Max-Age=0; path=/; Priority=");
}

TEST(Redactor, NoOtherCookieHidesAmongAttributes) {
  for (const char* value : {"a=1; Path=/, b=PLANTED", "a=1; HttpOnly, b=PLANTED; Path=/", "a=1; b=PLANTED",
                            "a=1; PLANTED", "a=\"1;PLANTED", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT, b=PLANTED",
                            "a=\"PLANTED\\\";PLANTED\"", "a=\"PLANTED\"PLANTED", "a=PLANTED, b=PLANTED"})
    EXPECT_THAT(stored("Set-Cookie", value), Not(HasSubstr(kSecret))) << value;
  for (const char* value :
       {"a=PLANTED, b=PLANTED", "a=\"PLANTED;PLANTED\"; b=PLANTED", "$Version=1; a=PLANTED; $Path=/"})
    EXPECT_THAT(stored("Cookie", value), Not(HasSubstr(kSecret))) << value;
}

TEST(Redactor, EqualCookiesStayEqual) {
  EXPECT_EQ(stored("Cookie", "sid=PLANTED"), stored("Set-Cookie", "sid=PLANTED"));
  EXPECT_NE(stored("Cookie", "sid=PLANTED"), stored("Cookie", "sid=PLANTED2"));
}

}  // namespace
}  // namespace tapdeck::store
