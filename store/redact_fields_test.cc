#include "store/redact_fields.h"

#include <gmock/gmock.h>

namespace tapdeck::store {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> found(std::string_view name, std::string_view value) {
  std::vector<std::string> out;
  for (const auto& [begin, size] : pieces_of_field(kind_of_field(name), value))
    out.emplace_back(value.substr(begin, size));
  return out;
}

TEST(RedactFields, UrlsAreFoundWhereFieldsHaveThem) {
  EXPECT_THAT(found("LOCATION", "/a"), ElementsAre("/a"));
  EXPECT_THAT(found("X-Original-URL", "/a"), ElementsAre("/a"));
  EXPECT_THAT(found("X-Rewrite-URL", "/a"), ElementsAre("/a"));
  EXPECT_THAT(found("Link", "</a>; rel=next, <https://b/c,d>; rel=\"x\""), ElementsAre("/a", "https://b/c,d"));
  EXPECT_THAT(found("Link", "<"), ElementsAre(""));
  EXPECT_THAT(found("Link", "<open"), ElementsAre("open"));
  EXPECT_THAT(found("Refresh", "0; url=/a?b;c"), ElementsAre("/a?b;c"));
  EXPECT_THAT(found("Refresh", "5;URL = '/a' x"), ElementsAre("/a"));
  EXPECT_THAT(found("Refresh", "5, \"/a"), ElementsAre("/a"));
  EXPECT_THAT(found("Refresh", "5; urls/b"), ElementsAre("urls/b"));
  EXPECT_THAT(found("Refresh", "5"), ElementsAre());
  EXPECT_THAT(found("X-Other", "/a"), ElementsAre());
  EXPECT_THAT(found("", "/a"), ElementsAre());
}

TEST(RedactFields, TokensAreFoundAmongSubprotocols) {
  constexpr auto kName = "Sec-WebSocket-Protocol";
  EXPECT_THAT(found(kName, "v4.channel.k8s.io,base64url.bearer.authorization.k8s.io.VE9L"), ElementsAre("VE9L"));
  EXPECT_THAT(found(kName, "realtime, openai-insecure-api-key.sk-1 , openai-beta.realtime-v1"), ElementsAre("sk-1"));
  EXPECT_THAT(found(kName, "Bearer,  abc , chat"), ElementsAre("abc"));
  EXPECT_THAT(found(kName, "chat, eyJh.eyJz.sig"), ElementsAre("eyJh.eyJz.sig"));
  EXPECT_THAT(found(kName, "graphql-ws, , graphql-transport-ws,mqtt"), ElementsAre());
  EXPECT_THAT(found(kName, "bearer"), ElementsAre()) << "nothing follows";
}

}  // namespace
}  // namespace tapdeck::store
