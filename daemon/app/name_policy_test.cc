#include "daemon/app/name_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::app {
namespace {

using names::Outside;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class OutsideOf : public ::testing::Test {
 protected:
  config::Route& route(std::optional<std::string> host, std::optional<Mode> mode) {
    config_.routes.emplace_back();
    config_.routes.back().host = std::move(host);
    config_.routes.back().mode = mode;
    return config_.routes.back();
  }
  [[nodiscard]] Outside of(std::string_view name) const {
    return outside_of(config_, config::BypassRules(config_.tls.bypass), config::kRunTarget, name);
  }
  config::Config config_;
};

TEST_F(OutsideOf, NobodyIsLetThroughUnlessARouteOrABypassSaysSo) {
  EXPECT_EQ(of("api.example"), Outside::No);
  route("api.example", Mode::Replay);
  EXPECT_EQ(of("api.example"), Outside::No);
  config_.tls.bypass = {"db.example:5432"};
  EXPECT_EQ(of("db.example"), Outside::First);
}

TEST_F(OutsideOf, WhatPassesTheTapeByIsAskedForFirstAndWhatMayMissAfterTheTape) {
  route("*.live.example", Mode::Passthrough);
  route("api.example", std::nullopt).on_miss = config::OnMiss::Forward;
  EXPECT_EQ(of("a.live.example"), Outside::First);
  EXPECT_EQ(of("api.example"), Outside::AfterTape);
  EXPECT_EQ(of("other.example"), Outside::No);
}

TEST_F(OutsideOf, ARouteWithoutAHostMayBeAboutAnyName) {
  route(std::nullopt, Mode::Passthrough).port = 5432;
  EXPECT_EQ(of("db.example"), Outside::AfterTape);
}

TEST_F(OutsideOf, RoutesOfOtherTargetsAndOfAReverseProxyDoNotCount) {
  route(std::nullopt, Mode::Passthrough).target = "web";
  route("api.example", Mode::Record).upstream.emplace();
  EXPECT_EQ(of("api.example"), Outside::No);
  route("api.example", Mode::Record).target = std::string(config::kRunTarget);
  EXPECT_EQ(of("api.example"), Outside::First);
}

TEST(NamesOf, ResolversAreAnsweredForOnlyWhereTheTapeOrASealNeedsIt) {
  using kernel::Names;
  using modes::Sealed;
  EXPECT_EQ(names_of(Mode::Record, Sealed::No), Names::Observed);
  EXPECT_EQ(names_of(Mode::Record, Sealed::Yes), Names::Answered);
  for (const Sealed sealed : {Sealed::No, Sealed::Yes}) {
    EXPECT_EQ(names_of(Mode::Replay, sealed), Names::Answered);
    EXPECT_EQ(names_of(Mode::Hybrid, sealed), Names::Answered);
    EXPECT_EQ(names_of(Mode::Passthrough, sealed), Names::Left);
  }
}

TEST(SearchDomains, AreThoseOfTheLastLine) {
  EXPECT_THAT(search_domains("nameserver 192.0.2.1\nsearch Corp.Lan. a.example\n"),
              ElementsAre("corp.lan", "a.example"));
  EXPECT_THAT(search_domains("search a.example\ndomain b.example\n"), ElementsAre("b.example"));
  EXPECT_THAT(search_domains("# search a.example\noptions ndots:2\nsearch\n"), IsEmpty());
  EXPECT_THAT(search_domains("search .\n"), IsEmpty());
}

}  // namespace
}  // namespace tapdeck::app
