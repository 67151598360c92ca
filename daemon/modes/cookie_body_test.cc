#include "daemon/modes/cookie_body.h"

#include <gtest/gtest.h>

#include "daemon/modes/body_key.h"

namespace tapdeck::modes {
namespace {

class CookieBodies : public testing::Test {
 protected:
  struct Asked {
    store::Key key;
    bool holds_cookie = false;
  };
  // The key of a POST with this body, fed in pieces of `step` bytes.
  [[nodiscard]] Asked ask(const std::string& cookie, std::string_view body, size_t step = 7) const {
    MetricsRegistry registry;
    http::RequestHead head;
    if (!cookie.empty()) head.headers.add("Cookie", cookie);
    store::KeyBuilder builder(hasher, "https", "api.test", 443, "POST", "/a");
    BodyKey body_key(nullptr, head, hasher, registry.create());
    for (size_t at = 0; at < body.size(); at += step) {
      builder.body(body.substr(at, step));
      body_key.update(body.substr(at, step));
    }
    body_key.finish(builder);
    return {builder.key(), body_key.holds_cookie()};
  }
  [[nodiscard]] Asked ask_with(const std::string& cookie, const std::string& body, size_t step = 7) const {
    return ask("theme=dark; t=" + cookie, body, step);
  }
  // The cookie of a client that the replay of a store with this secret has given it.
  [[nodiscard]] static std::string given_out(std::string_view value, uint8_t secret = 8) {
    http::Headers fields;
    fields.add("Cookie", "t=" + std::string(value));
    EXPECT_EQ(store::Redactor({}, store::Secret{secret}).redact_headers(fields), 1U);
    return std::string(fields[0].value.substr(2));
  }

  const std::string token = "0123456789abcdef+/Zz==";
  const store::KeyHasher hasher{store::Secret{7}};
};

TEST_F(CookieBodies, ACookieThatTheBodyRepeatsIsTheSameAsItsPlaceholder) {
  const std::string placeholder = given_out(token);
  const store::Key then = ask_with(token, "csrf=0123456789abcdef%2B%2FZz%3D%3D&user=bob").key;
  const std::string digits = placeholder.substr(10, 8);
  for (const std::string& body :
       {"csrf=%5Bredacted%3A" + digits + "%5D&user=bob", "csrf=%5bredacted%3a" + digits + "%5d&user=bob",
        "csrf=" + placeholder + "&user=bob"}) {
    const Asked now = ask_with(placeholder, body);
    EXPECT_EQ(now.key, then) << body;
    EXPECT_TRUE(now.holds_cookie);
    EXPECT_EQ(ask_with(placeholder, body, 1).key, then) << "byte by byte";
  }
  EXPECT_EQ(ask_with(token, "csrf=" + token + "&user=bob").key, then) << "the value itself";
  EXPECT_NE(ask_with(placeholder, "csrf=" + placeholder + "&user=eve").key, then);
  const std::string other = given_out("another token, as long");
  EXPECT_EQ(ask_with(other, "csrf=" + other + "&user=bob").key, then) << "cookies are not compared";
  const store::Key twice = ask_with(token, token + " and " + token + ".").key;
  EXPECT_EQ(ask_with(placeholder, placeholder + " and " + placeholder + ".").key, twice);
}

TEST_F(CookieBodies, DependOnNoSecretOfTheStore) {
  const std::string here = given_out(token, 8), elsewhere = given_out(token, 9);
  ASSERT_NE(here, elsewhere);
  const store::Key then = ask_with(token, "csrf=" + token).key;
  EXPECT_EQ(ask_with(here, "csrf=" + here).key, then);
  EXPECT_EQ(ask_with(elsewhere, "csrf=" + elsewhere).key, then) << "imported there";
}

TEST_F(CookieBodies, TellWhichCookieItIs) {
  const std::string other = "fedcba9876543210";
  const std::string cookies = "a=" + token + "; b=" + other;
  EXPECT_NE(ask(cookies, "x=" + token).key, ask(cookies, "x=" + other).key);
  EXPECT_EQ(ask("a=" + token + ";b=" + token, "x=" + token).key, ask("b=" + token + "; a=" + token, "x=" + token).key)
      << "of two that are the same one name counts";
}

TEST_F(CookieBodies, OfManyCookiesTheFirstAreLookedFor) {
  std::string cookies;
  for (int i = 0; i < 8; ++i) cookies += "c" + std::to_string(i) + "=0123456789abcdef" + std::to_string(i) + "; ";
  EXPECT_TRUE(ask(cookies, "0123456789abcdef7").holds_cookie);
  EXPECT_FALSE(ask(cookies + "last=" + token, token).holds_cookie);
  std::string others, others_given;
  for (int i = 0; i < 9; ++i) {
    others += "c" + std::to_string(i) + "=short" + std::to_string(i) + "; ";
    others_given += "c" + std::to_string(i) + "=" + given_out("short" + std::to_string(i)) + "; ";
  }
  EXPECT_EQ(ask(others_given + "t=" + given_out(token), "x=" + given_out(token)).key,
            ask(others + "t=" + token, "x=" + token).key)
      << "short values are none, whose placeholders are long";
}

TEST_F(CookieBodies, TheBeginningIsKeptForWhoAsks) {
  MetricsRegistry registry;
  http::RequestHead head;
  head.headers.add("Cookie", "t=" + token);
  const std::string body = "csrf=" + token + std::string(2 * BodyKey::kBeginning, 'x');
  for (const bool asks : {true, false}) {
    store::KeyBuilder builder(hasher, "https", "api.test", 443, "POST", "/a");
    BodyKey body_key(nullptr, head, hasher, registry.create());
    if (asks) body_key.keep_beginning();
    for (size_t at = 0; at < body.size(); at += 1000) body_key.update(std::string_view(body).substr(at, 1000));
    body_key.finish(builder);
    EXPECT_FALSE(body_key.holds_cookie()) << "too long";
    EXPECT_EQ(body_key.take_beginning(), asks ? body.substr(0, BodyKey::kBeginning) : "");
  }
}

TEST_F(CookieBodies, ABodyWithoutItsCookiesIsComparedAsItIs) {
  for (const std::string body : {"user=bob", "csrf=[redacted:0123abcd]", "0123456789abcdef", "dark"}) {
    const Asked asked = ask_with(token, body);
    EXPECT_EQ(asked.key, ask("", body).key) << body;
    EXPECT_FALSE(asked.holds_cookie);
  }
  const std::string shorter = "0123456789abcde";
  EXPECT_EQ(ask_with(shorter, "a=" + shorter).key, ask("", "a=" + shorter).key) << "may be chance";
  const std::string longer = std::string(BodyKey::kBeginning, 'x') + token;
  EXPECT_EQ(ask_with(token, longer, 4096).key, ask("", longer, 4096).key);
}

TEST_F(CookieBodies, OfCookiesThatBeginAlikeTheLongestCounts) {
  const std::string longer = token + "more";
  const auto with_both = [this](const std::string& one, const std::string& other) {
    return ask("a=" + one + "; b=" + other, "a=" + other + "&b=" + one).key;
  };
  EXPECT_EQ(with_both(token, longer), with_both(given_out(token), given_out(longer)));
}

}  // namespace
}  // namespace tapdeck::modes
