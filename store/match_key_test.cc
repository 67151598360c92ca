#include "store/match_key.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "store/redact.h"

namespace tapdeck::store {
namespace {

const KeyHasher& hasher() {
  static const KeyHasher value{Secret{1, 2, 3}};
  return value;
}

Key key_of(std::string_view scheme, std::string_view host, uint16_t port, std::string_view method,
           std::string_view target, std::string_view body = {}) {
  KeyBuilder builder(hasher(), scheme, host, port, method, target);
  builder.body(body);
  return builder.key();
}

// RFC 4231 test case 2 has a four byte key, padded with zeros as our 32 byte secret is.
TEST(KeyHasher, IsHmacSha256) {
  const KeyHasher rfc(Secret{'J', 'e', 'f', 'e'});
  EXPECT_EQ(to_hex(rfc.of("what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(MatchKey, DiffersInEveryDimensionAndOnlyThere) {
  std::set<Key> keys;
  keys.insert(key_of("https", "a.test", 443, "GET", "/x?q"));
  keys.insert(key_of("http", "a.test", 443, "GET", "/x?q"));
  keys.insert(key_of("https", "b.test", 443, "GET", "/x?q"));
  keys.insert(key_of("https", "a.test", 444, "GET", "/x?q"));
  keys.insert(key_of("https", "a.test", 443, "PUT", "/x?q"));
  keys.insert(key_of("https", "a.test", 443, "GET", "/y?q"));
  keys.insert(key_of("https", "a.test", 443, "GET", "/x?r"));
  keys.insert(key_of("https", "a.test", 443, "GET", "/x?q", "body"));
  keys.insert(key_of("https", "a.test", 443, "GET", "/xq"));
  EXPECT_EQ(keys.size(), 9u);
  EXPECT_EQ(key_of("https", "A.Test", 443, "GET", "/x?q#f"), key_of("https", "a.test", 443, "GET", "/x?q"));
  EXPECT_EQ(key_of("http", "a.test", 80, "GET", "http://a.test/x"), key_of("http", "a.test", 80, "GET", "/x"));
}

TEST(MatchKey, DoesNotDependOnHowTheBodyIsSplit) {
  const std::string body(1000, 'b');
  const Key whole = key_of("https", "a.test", 443, "POST", "/", body);
  for (size_t n = 0; n <= body.size(); n += 7) {
    KeyBuilder builder(hasher(), "https", "a.test", 443, "POST", "/");
    builder.body(body.substr(0, n));
    builder.body(body.substr(n));
    ASSERT_EQ(builder.key(), whole) << n;
  }
}

TEST(MatchKey, AnotherSecretGivesAnotherKey) {
  const KeyHasher other(Secret{9});
  KeyBuilder builder(other, "https", "a.test", 443, "GET", "/");
  EXPECT_NE(builder.key(), key_of("https", "a.test", 443, "GET", "/"));
}

TEST(MatchKey, ADimensionChangesTheKey) {
  KeyBuilder a(hasher(), "https", "a.test", 443, "GET", "/");
  KeyBuilder b(hasher(), "https", "a.test", 443, "GET", "/");
  a.dimension("header:accept", "x");
  b.dimension("header:accept", "y");
  const Key with_a = a.key();
  EXPECT_NE(with_a, b.key());
  EXPECT_NE(with_a, key_of("https", "a.test", 443, "GET", "/"));
}

TEST(MatchKey, AnAuthorityThatDiffersIsShownAsItIs) {
  Recording recording;
  recording.scheme = "https";
  recording.host = "a.test";
  recording.port = 443;
  recording.request.method = "GET";
  recording.request.target = "/";
  recording.request.authority = "front.test:443";
  recording.dimensions = {{"authority", hasher().of("front.test")}};
  KeyBuilder asked(hasher(), "https", "a.test", 443, "GET", "/");
  asked.dimension("authority", "evil.test");
  const auto found = differences(parts_of(recording), asked.parts());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], (Difference{"authority", "front.test", "evil.test"}));
}

TEST(MatchKey, DifferencesNameTheFields) {
  const KeyParts recorded{"https", "a.test", 443, "GET", "/x", "q=1", {}, 0, {}};
  const KeyParts requested{"https", "a.test", 443, "POST", "/x", "q=2", {1}, 3, {}};
  const auto found = differences(recorded, requested);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], (Difference{"method", "GET", "POST"}));
  EXPECT_EQ(found[1], (Difference{"query", "q=1", "q=2"}));
  EXPECT_EQ(found[2].where, "body");
}

TEST(Redact, ReplacesCredentialsInEveryPlaneAndKeepsEqualOnesEqual) {
  Recording r;
  r.request.target = "http://me:pw@a.test/p?token=s3cret&x=1&to%6ben=s3cret";
  r.request.headers.add("authorization", "Bearer s3cret");
  r.request.headers.add("Accept", "*/*");
  r.request.headers.add("Cookie", "s3cret");
  r.response.headers.add("Set-Cookie", "s3cret");
  r.response.headers.add("Location", "/next?token=s3cret");
  r.response.headers.add("X-Key", "s3cret");
  r.response_trailers.add("Set-Cookie", "s3cret");
  const Redactor redactor({{"x-KEY"}, {"token"}}, Secret{5});
  const auto counts = redactor.redact(r);
  EXPECT_EQ(counts.uri, 3u);
  EXPECT_EQ(counts.headers, 5u);
  EXPECT_EQ(counts.trailers, 1u);
  for (const auto* headers : {&r.request.headers, &r.response.headers, &r.response_trailers}) {
    for (size_t i = 0; i < headers->size(); ++i) EXPECT_EQ((*headers)[i].value.find("s3cret"), std::string::npos);
  }
  EXPECT_EQ(r.request.target.find("s3cret"), std::string::npos);
  EXPECT_EQ(r.request.target.find("pw"), std::string::npos);
  EXPECT_NE(r.request.target.find("&x=1&"), std::string::npos);
  EXPECT_EQ(r.request.headers.find("Cookie"), r.response.headers.find("Set-Cookie"));
  EXPECT_EQ(r.request.headers.find("Accept"), "*/*");
  EXPECT_EQ(redactor.redact(r).total(), 0u) << "a second time changes nothing";
}

TEST(Redactor, QueryNamesAreKnownInAnyCaseAndBehindSemicolons) {
  const Redactor redactor({{}, {"api_key"}}, Secret{5});
  const auto redacted = [&](std::string target) {
    redactor.redact_target(target);
    return target;
  };
  EXPECT_TRUE(redacted("/a?API_KEY=s3cret&x=1").ends_with("]&x=1"));
  EXPECT_TRUE(redacted("/a?x=1;Api_Key=s3cret").starts_with("/a?x=1;Api_Key=[redacted:"));
  EXPECT_EQ(redacted("/a?api_key=s3cret;more").find("more"), std::string::npos) << "it may be part of the secret";
  EXPECT_EQ(redacted("/a?x=api_key;y=1"), "/a?x=api_key;y=1");
  const std::string once = redacted("/a?x=1;api_key=s3cret");
  EXPECT_EQ(redacted(once), once);
}

}  // namespace
}  // namespace tapdeck::store
