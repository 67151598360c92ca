#include "daemon/app/body_search.h"

#include <gtest/gtest.h>

#include "daemon/coding/decoder.h"
#include "store/test_support.h"

namespace tapdeck::app {
namespace {

TEST(TextFinder, FindsATextAcrossPiecesInAnyCase) {
  const std::string bytes = "aa neEdle bb";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    TextFinder finder("NEEDLE");
    finder.feed(std::string_view(bytes).substr(0, cut));
    EXPECT_TRUE(finder.feed(std::string_view(bytes).substr(cut))) << cut;
  }
  TextFinder bytewise("needle"), absent("needles");
  for (const char& c : bytes) {
    bytewise.feed({&c, 1});
    absent.feed({&c, 1});
  }
  EXPECT_TRUE(bytewise.found());
  EXPECT_FALSE(absent.found());
}

struct Search {
  bool found;
  uint64_t looked_at;
};

// In a stored recording whose response body is `body`, in `coding`.
Search search_with(const http::Headers& fields, const std::string& body, const std::string& text) {
  TestDirectory directory;
  auto store = store::open_store(directory.path());
  store::Recorder recorder(*store, "default");
  store::RecordingBuilder builder = recorder.begin("/a");
  http::ResponseHead head;
  head.status = 200;
  head.headers = fields;
  builder.response(head);
  builder.body(store::BodySide::Response, body, 0);
  builder.finish({store::Outcome::Kind::Complete, 0, {}});
  std::vector<store::PendingWrite> writes;
  builder.take_writes(writes);
  EXPECT_TRUE(store->write(writes, store::Durability::Wal));
  uint64_t looked_at = 0;
  const bool found = body_holds(*store, *store->get(builder.id()), text, looked_at);
  EXPECT_GE(looked_at, std::min(body.size(), text.size()));
  return {found, looked_at};
}

Search search(const std::string& coding, const std::string& body, const std::string& text) {
  http::Headers fields;
  if (!coding.empty()) fields.add("Content-Encoding", coding);
  return search_with(fields, body, text);
}

bool found_in(const std::string& coding, const std::string& body, const std::string& text) {
  return search(coding, body, text).found;
}

std::string gzipped(const std::string& text) {
  coding::Encoder encoder(coding::Coding::Gzip);
  std::string coded;
  EXPECT_TRUE(encoder.feed(text, coded));
  EXPECT_TRUE(encoder.finish(coded));
  return coded;
}

TEST(BodySearch, LooksThroughContentCodings) {
  const std::string text = std::string(3000, 'x') + "the Needle" + std::string(3000, 'y');
  const std::string coded = gzipped(text);
  EXPECT_TRUE(found_in("", text, "needle"));
  EXPECT_TRUE(found_in("gzip", coded, "needle"));
  EXPECT_FALSE(found_in("gzip", coded, "haystack"));
  EXPECT_TRUE(found_in("gzip", "not gzip but a needle", "needle")) << "what does not decode is searched as it is";
  EXPECT_FALSE(found_in("", coded, "needle")) << "nobody said it was gzip";
}

// With the flag, four bytes of length, and `bytes`.
std::string message(const std::string& bytes, char compressed) {
  std::string out(1, compressed);
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(bytes.size() >> shift));
  return out + bytes;
}

TEST(BodySearch, LooksIntoCompressedMessagesOfGrpc) {
  const auto found = [](const std::string& type, const std::string& encoding, const std::string& body,
                        const std::string& text) {
    http::Headers fields;
    fields.add("Content-Type", type);
    if (!encoding.empty()) fields.add("grpc-encoding", encoding);
    return search_with(fields, body, text).found;
  };
  const std::string coded = gzipped(std::string(3000, 'x') + "the Needle" + std::string(3000, 'y'));
  const std::string body = message("plain hay", '\0') + message(gzipped("more hay"), '\1') + message(coded, '\1') +
                           message("", '\1') + message("last straw", '\0');
  EXPECT_TRUE(found("application/grpc", "gzip", body, "needle"));
  EXPECT_TRUE(found("application/grpc+proto", "gzip", body, "more hay"));
  EXPECT_TRUE(found("application/grpc", "gzip", body, "last straw"));
  EXPECT_FALSE(found("application/grpc", "gzip", body, "haymaker"));
  EXPECT_TRUE(found("application/grpc", "gzip", message("no gzip", '\1') + body, "needle")) << "one that is broken";
  EXPECT_TRUE(found("application/grpc", "gzip", message("no gzip", '\1'), "no gzip"));
  EXPECT_FALSE(found("application/grpc", "", body, "needle")) << "nobody said how";
  EXPECT_FALSE(found("application/json", "gzip", body, "needle"));
}

TEST(BodySearch, LooksAtNoMoreOfManyMessagesThanOfOne) {
  http::Headers fields;
  fields.add("Content-Type", "application/grpc");
  fields.add("grpc-encoding", "gzip");
  std::string body;
  for (int i = 0; i < 100; ++i) body += message(gzipped(std::string(1 << 20, 'x')), '\1');
  const Search search = search_with(fields, body, "needle");
  EXPECT_FALSE(search.found);
  EXPECT_LE(search.looked_at, body.size() + kSearchedOfABody + (64 << 10));
}

TEST(BodySearch, LooksAtTheBeginningOfABodyWithoutEnd) {
  std::string text = "the first";
  // Numbers, so that it does not pass for a bomb.
  for (uint64_t i = 1; text.size() < kSearchedOfABody + (2 << 20); ++i)
    text += std::to_string(i * 0x9E3779B97F4A7C15) + std::string(400, 'x');
  text += "the last";
  const std::string coded = gzipped(text);
  ASSERT_LT(coded.size(), 8U << 20);
  EXPECT_TRUE(found_in("", text, "the first"));
  EXPECT_TRUE(found_in("gzip", coded, "the first"));
  const Search plain = search("", text, "the last");
  EXPECT_FALSE(plain.found);
  EXPECT_LE(plain.looked_at, kSearchedOfABody + store::kSegmentBytes);
  const Search decoded = search("gzip", coded, "the last");
  EXPECT_FALSE(decoded.found);
  EXPECT_LE(decoded.looked_at, coded.size() + kSearchedOfABody + (64 << 10)) << "what it read, and what that became";
}

}  // namespace
}  // namespace tapdeck::app
