#include "daemon/config/to_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace tapdeck::config {
namespace {

TEST(ConfigAsJson, HasTheSectionsOfTheFile) {
  const auto config = parse("[proxy]\nmode = \"hybrid\"\n[[targets]]\nname = \"a\"\ncgroup = \"/x \\\"y\\\"\"\n",
                            "t.toml", "/etc/tapdeck");
  ASSERT_TRUE(config) << config.error().detail;
  const auto json = nlohmann::json::parse(to_json(*config), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["proxy"]["mode"], "hybrid");
  EXPECT_EQ(json["capture"]["lease_ms"], 1500);
  EXPECT_EQ(json["tls"]["verify_ttl"], "1m");
  EXPECT_EQ(json["targets"].at(0)["cgroup"], "/x \"y\"");
}

}  // namespace
}  // namespace tapdeck::config
