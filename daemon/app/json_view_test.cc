#include "daemon/app/json_view.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace tapdeck::app {
namespace {

using Kind = store::Outcome::Kind;

Json ended(Kind kind, uint32_t code, http::Version version) {
  store::Recording recording;
  recording.outcome = {kind, 4, "why", code};
  recording.response.version = version;
  return recording_view(recording)["ended"];
}

TEST(JsonView, HowARecordingEndedHasItsCodeWhereThereIsOne) {
  const Json none = {{"kind", "truncated"}, {"at_bytes", 4}, {"reason", "why"}};
  EXPECT_EQ(ended(Kind::Truncated, 0, http::Version::Http11), none);
  EXPECT_EQ(ended(Kind::Failed, ECONNREFUSED, http::Version::Http11).at("code"), ECONNREFUSED);
  EXPECT_EQ(ended(Kind::Reset, ECONNRESET, http::Version::Http11).at("code"), ECONNRESET);
  EXPECT_EQ(ended(Kind::Reset, 0, http::Version::Http2).at("code"), 0) << "NO_ERROR";
}

TEST(JsonView, ARecordingSaysFromWhichNetworkNamespaceItCame) {
  store::Recording recording;
  recording.provenance.netns_cookie = 4097;
  EXPECT_EQ(recording_view(recording)["provenance"].at("netns_cookie"), 4097);
}

}  // namespace
}  // namespace tapdeck::app
