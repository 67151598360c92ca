// The fixture of the command line's tests: what a call printed and answered, on a state directory of its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "daemon/app/cli.h"
#include "daemon/base/test_directory.h"

namespace tapdeck::app {

inline constexpr std::array<std::string_view, 4> kLeaves = {"status", "targets", "version", "clean"};

class CliTest : public ::testing::Test {
 protected:
  int call(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    run_ = {};
    const Programs programs{.run =
                                [this](const RunOptions& options) {
                                  run_ = options;
                                  return 42;
                                },
                            .serve =
                                [this](const ServeOptions& options) {
                                  serve_ = options;
                                  return 43;
                                }};
    return run_cli(std::move(arguments), programs, {.out = out_, .err = err_, .terminal = Terminal::No});
  }
  // On a state directory and configuration of this test's own.
  int here(std::vector<std::string> arguments) {
    const auto place =
        std::min<size_t>(arguments.size(), std::ranges::find(kLeaves, arguments.front()) != kLeaves.end() ? 1 : 2);
    arguments.insert(arguments.begin() + static_cast<ptrdiff_t>(place),
                     {"--state-dir", (directory_ / "state").string(), "--config", config_.string()});
    return call(std::move(arguments));
  }
  TestDirectory directory_;
  std::filesystem::path config_ = directory_.write("empty.toml", "");
  std::ostringstream out_, err_;
  RunOptions run_;
  ServeOptions serve_;
};

}  // namespace tapdeck::app
