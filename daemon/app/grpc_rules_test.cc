#include "daemon/app/grpc_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::app {
namespace {

config::Config read(std::string_view text) {
  auto config = config::parse(text, "t.toml", "/nonexistent");
  EXPECT_TRUE(config) << config.error().detail;
  return config.value_or(config::Config{});
}

TEST(GrpcRules, AreCompiledForTheRoutesThatHaveSome) {
  config::Config config = read("[[routes]]\n[routes.grpc]\nmatch_fields = [\"1.2\"]\n[[routes]]\nhost = \"a\"\n");
  ASSERT_TRUE(compile_grpc_rules(config));
  EXPECT_NE(config.routes[0].grpc->rules, nullptr);
  EXPECT_FALSE(config.routes[1].grpc);
}

TEST(GrpcRules, AMissingProtoFileNamesRouteAndFile) {
  config::Config config = read("[[routes]]\nname = \"shop\"\n[routes.grpc]\nproto_files = [\"shop.proto\"]\n");
  const auto compiled = compile_grpc_rules(config);
  ASSERT_FALSE(compiled);
  EXPECT_EQ(compiled.error().code, Code::InvalidConfig);
  EXPECT_THAT(compiled.error().detail,
              testing::StartsWith("t.toml: [routes.grpc] of route 'shop': /nonexistent/shop.proto: no such file"));
}

}  // namespace
}  // namespace tapdeck::app
