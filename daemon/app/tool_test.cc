#include "daemon/app/tool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

namespace tapdeck::app {
namespace {

using std::chrono::milliseconds;

TEST(RunTool, BringsBackStatusAndBothOutputs) {
  const auto output = run_tool({"sh", "-c", "echo out; echo err >&2; cat; echo $LC_ALL; exit 3"}, milliseconds(10000));
  ASSERT_TRUE(output) << output.error().message();
  EXPECT_EQ(output->status, 3);
  EXPECT_EQ(output->out, "out\nC\n");
  EXPECT_EQ(output->err, "err\n");
}

TEST(RunTool, KillsAtTheDeadlineWithItsChildren) {
  const auto output = run_tool({"sh", "-c", "sleep 1000 & sleep 1000"}, milliseconds(50));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().code, Code::Timeout);
  EXPECT_THAT(output.error().detail, testing::HasSubstr("sh"));
}

TEST(RunTool, SaysWhenTheProgramIsNotThere) {
  const auto output = run_tool({"tapdeck-no-such-tool"}, milliseconds(1000));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().code, Code::NotFound);
}

TEST(RunTool, DoesNotWaitForWhatTheToolLeftBehind) {
  const auto output = run_tool({"sh", "-c", "sleep 1000 & echo $!"}, milliseconds(20000));
  ASSERT_TRUE(output) << output.error().message();
  const pid_t left = std::stoi(output->out);
  EXPECT_EQ(::kill(left, SIGKILL), 0);
}

TEST(RunTool, StopsReadingEndlessOutput) {
  const auto output = run_tool({"yes"}, milliseconds(20000));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().code, Code::TooLarge);
}

}  // namespace
}  // namespace tapdeck::app
