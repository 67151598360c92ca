#include "daemon/exchange/h2_setup.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace tapdeck::exchange {
namespace {

using http::H2Abuse;

constexpr std::pair<H2Abuse, Counter> kKinds[] = {
    {H2Abuse::RapidReset, Counter::H2RapidReset},
    {H2Abuse::ServerReset, Counter::H2ServerReset},
    {H2Abuse::ContinuationFlood, Counter::H2ContinuationFlood},
    {H2Abuse::SettingsFlood, Counter::H2SettingsFlood},
    {H2Abuse::PingFlood, Counter::H2PingFlood},
    {H2Abuse::PriorityFlood, Counter::H2PriorityFlood},
    {H2Abuse::Hpack, Counter::H2Hpack},
    {H2Abuse::EmptyFrames, Counter::H2EmptyFrames},
    {H2Abuse::WindowGames, Counter::H2WindowGames},
    {H2Abuse::HeaderCount, Counter::H2HeaderCount},
};
static_assert(std::size(kKinds) == http::kH2AbuseKinds);

TEST(H2Setup, EachKindOfAbuseIsCountedAsItself) {
  for (const auto& [kind, counted] : kKinds) {
    MetricsRegistry registry;
    const http::H2Options options = h2_options(registry.create(), "peer", 7);
    EXPECT_EQ(options.max_streams, 7U);
    options.on_abuse(kind);
    for (const auto& row : kKinds) {
      EXPECT_EQ(registry.snapshot().value(row.second), row.second == counted ? 1U : 0U)
          << static_cast<int>(kind) << " as " << static_cast<int>(row.second);
    }
  }
}

}  // namespace
}  // namespace tapdeck::exchange
