#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/app/run_command.h"
#include "daemon/base/log.h"
#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

TEST(RunServices, AReplayMakesNoStateDirectoryWhereThereIsNone) {
  const TestDirectory directory;
  RunOptions options;
  options.mode = Mode::Replay;
  options.session = "shop";
  options.state_dir = directory / "mistyped";
  options.config_file = directory.write("tapdeck.toml", "");
  const auto services = make_run_services(options);
  log::configure(log::Options{});
  ASSERT_FALSE(services);
  EXPECT_EQ(services.error().code, Code::NotFound);
  EXPECT_THAT(services.error().detail, testing::HasSubstr("nothing is recorded in " + options.state_dir.string()));
  EXPECT_FALSE(std::filesystem::exists(options.state_dir));
}

}  // namespace
}  // namespace tapdeck::app
