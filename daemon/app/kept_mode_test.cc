#include "daemon/app/kept_mode.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <climits>
#include <fstream>

#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

class KeptModeTest : public testing::Test {
 protected:
  void set(Mode mode, Mode configured) {
    const auto saved = save_mode(file_, {.mode = mode, .configured = configured});
    ASSERT_TRUE(saved) << saved.error().message();
  }
  Mode start(Mode configured) {
    const auto mode = mode_at_start(file_, configured);
    EXPECT_TRUE(mode) << mode.error().message();
    return mode.value_or(Mode::Passthrough);
  }
  TestDirectory directory_;
  std::filesystem::path file_ = directory_ / "mode.json";
};

TEST_F(KeptModeTest, NothingSetLeavesTheConfiguredOne) {
  EXPECT_EQ(start(Mode::Hybrid), Mode::Hybrid);
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(KeptModeTest, WhatWasSetOutlivesStarts) {
  set(Mode::Replay, Mode::Record);
  EXPECT_EQ(start(Mode::Record), Mode::Replay);
  EXPECT_EQ(start(Mode::Record), Mode::Replay);
}

TEST_F(KeptModeTest, AChangedConfigurationWinsForGood) {
  set(Mode::Replay, Mode::Record);
  EXPECT_EQ(start(Mode::Hybrid), Mode::Hybrid);
  EXPECT_EQ(start(Mode::Record), Mode::Record) << "what was set does not come back";
}

TEST_F(KeptModeTest, AFileThatDoesNotDecodeIsReplayUntilAnotherIsSet) {
  for (const char* text : {"", "{", "[]", "{}", R"({"mode":"replay"})", R"({"mode":"loud","configured":"record"})",
                           R"({"mode":1,"configured":"record"})"}) {
    std::ofstream(file_) << text;
    EXPECT_EQ(start(Mode::Record), Mode::Replay) << text;
    EXPECT_EQ(start(Mode::Record), Mode::Replay) << text;
    set(Mode::Record, Mode::Record);
    EXPECT_EQ(start(Mode::Record), Mode::Record) << text;
  }
}

TEST_F(KeptModeTest, AFileThatCannotBeWrittenRefusesNoStart) {
  file_ = directory_ / std::string(NAME_MAX, 'm');  // no room for the name of the new one beside it
  std::ofstream(file_) << R"({"mode":"replay","configured":"record"})";
  EXPECT_EQ(start(Mode::Record), Mode::Replay);
  EXPECT_EQ(start(Mode::Hybrid), Mode::Hybrid);
  EXPECT_EQ(start(Mode::Record), Mode::Replay) << "it could not be forgotten";
  std::ofstream(file_) << "{";
  EXPECT_EQ(start(Mode::Record), Mode::Replay);
}

TEST_F(KeptModeTest, WhatTheNextStartBeginsWithCanBeAskedFor) {
  EXPECT_EQ(mode_of_next_start(file_, Mode::Hybrid).value(), Mode::Hybrid);
  set(Mode::Replay, Mode::Record);
  EXPECT_EQ(mode_of_next_start(file_, Mode::Record).value(), Mode::Replay);
  EXPECT_EQ(mode_of_next_start(file_, Mode::Hybrid).value(), Mode::Hybrid);
  std::ofstream(file_) << "{";
  EXPECT_EQ(mode_of_next_start(file_, Mode::Record).value(), Mode::Replay);
  EXPECT_EQ(std::filesystem::file_size(file_), 1U) << "asked only";
}

TEST_F(KeptModeTest, WhatCannotBeKeptIsAnError) {
  EXPECT_FALSE(save_mode(directory_ / "none" / "mode.json", {}));
}

}  // namespace
}  // namespace tapdeck::app
