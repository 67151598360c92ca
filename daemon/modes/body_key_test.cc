#include "daemon/modes/body_key.h"

#include <gtest/gtest.h>

#include "daemon/coding/decoder.h"

namespace tapdeck::modes {
namespace {

const store::KeyHasher& hasher() {
  static const store::KeyHasher kHasher(store::Secret{7});
  return kHasher;
}

struct Asked {
  store::Key key;
  uint64_t raw = 0;  // fallbacks counted
};

// The key of a POST with this body, fed in pieces of `step` bytes.
Asked ask(std::string_view codings, std::string_view body, size_t step = 7) {
  MetricsRegistry registry;
  Metrics& metrics = registry.create();
  http::RequestHead head;
  if (!codings.empty()) head.headers.add("Content-Encoding", codings);
  store::KeyBuilder builder(hasher(), "https", "api.test", 443, "POST", "/a");
  BodyKey body_key(nullptr, head, hasher(), metrics);
  for (size_t at = 0; at < body.size(); at += step) {
    builder.body(body.substr(at, step));
    body_key.update(body.substr(at, step));
  }
  body_key.finish(builder);
  return {builder.key(), registry.snapshot().value(Counter::BodyKeyRaw)};
}

std::string encode(coding::Coding coding, std::string_view bytes) {
  coding::Encoder encoder(coding);
  std::string out;
  EXPECT_TRUE(encoder.feed(bytes, out));
  EXPECT_TRUE(encoder.finish(out));
  return out;
}

TEST(BodyKey, TheSameBodyCompressedDifferentlyOrNotAtAllIsTheSameRequest) {
  const std::string body = "{\"name\":\"the same\",\"n\":[1,2,3]}";
  const store::Key plain = ask("", body).key;
  EXPECT_EQ(ask("identity", body).key, plain);
  for (const coding::Coding coding : coding::kCodings) {
    const std::string coded = encode(coding, body);
    const Asked asked = ask(coding::to_string(coding), coded);
    EXPECT_EQ(asked.key, plain) << coding::to_string(coding);
    EXPECT_EQ(asked.raw, 0U);
    EXPECT_EQ(ask(coding::to_string(coding), coded, 1).key, plain) << "byte by byte";
    EXPECT_NE(ask(coding::to_string(coding), encode(coding, body + " ")).key, plain);
  }
}

TEST(BodyKey, AnEmptyBodyIsEmptyHoweverItIsWrapped) {
  const store::Key nothing = ask("", "").key;
  EXPECT_EQ(ask("gzip", "").key, nothing) << "a coding named, no bytes";
  EXPECT_EQ(ask("gzip", "").raw, 0U);
  EXPECT_EQ(ask("gzip", encode(coding::Coding::Gzip, "")).key, nothing);
}

TEST(BodyKey, BytesThatDoNotDecodeMatchAsTheyAreAndAreCounted) {
  const std::string cut = encode(coding::Coding::Gzip, "some body").substr(0, 15);
  EXPECT_EQ(ask("gzip", cut).key, ask("", cut).key);
  EXPECT_EQ(ask("gzip", cut).raw, 1U);
  EXPECT_EQ(ask("br", "not brotli \xff").key, ask("", "not brotli \xff").key);
  EXPECT_EQ(ask("compress", "who knows").key, ask("", "who knows").key);
  EXPECT_EQ(ask("compress", "who knows").raw, 0U) << "a coding we do not claim to read is no failure";
}

TEST(BodyKey, ABombMatchesByItsBytes) {
  const std::string bomb = encode(coding::Coding::Gzip, std::string(64 << 20, '\0'));
  const Asked asked = ask("gzip", bomb, 4096);
  EXPECT_EQ(asked.key, ask("", bomb, 4096).key);
  EXPECT_EQ(asked.raw, 1U);
}

}  // namespace
}  // namespace tapdeck::modes
