#include "daemon/server/tls_plan.h"

#include <gtest/gtest.h>

namespace tapdeck::server {
namespace {

store::OriginFacts recorded_as(std::string alpn, bool is_of_offer = false) {
  store::OriginFacts facts;
  facts.alpn = std::move(alpn);
  facts.is_of_offer = is_of_offer;
  return facts;
}

TEST(ReplayedAlpn, IsWhatTheOriginSpokeToAClientThatOffersIt) {
  EXPECT_EQ("h2", replayed_alpn("h2,http/1.1", recorded_as("h2")));
  EXPECT_EQ("http/1.1", replayed_alpn("h2,http/1.1", recorded_as("http/1.1")));
  EXPECT_EQ("http/1.0", replayed_alpn("http/1.0", recorded_as("http/1.0")));
}

TEST(ReplayedAlpn, IsElseWhatTheClientCanAndIsBestTranslated) {
  EXPECT_EQ("http/1.1", replayed_alpn("http/1.1", recorded_as("h2")));
  EXPECT_EQ("http/1.0", replayed_alpn("http/1.0", recorded_as("h2")));
  EXPECT_EQ("h2", replayed_alpn("h2", recorded_as("http/1.1")));
  EXPECT_EQ("", replayed_alpn("", recorded_as("h2")));
}

TEST(ReplayedAlpn, IsNoneFromAnOriginWithoutUnlessTheClientNeedsOne) {
  EXPECT_EQ("", replayed_alpn("h2,http/1.1", recorded_as("")));
  EXPECT_EQ("h2", replayed_alpn("h2", recorded_as("")));
  EXPECT_EQ("", replayed_alpn("h2", recorded_as("", true)));  // it got none then
}

}  // namespace
}  // namespace tapdeck::server
