#include "daemon/trust/helper_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace tapdeck::trust {
namespace {

using std::chrono::milliseconds;

TEST(HelperProcess, BringsBackTextAndErrorsWhole) {
  const std::string long_text(200000, 'x');
  EXPECT_EQ(run_in_helper([&] { return Result<std::string>(long_text); }, milliseconds(10000)).value(), long_text);
  const auto failed =
      run_in_helper([] { return Result<std::string>(fail_errno(EACCES, "a, detail")); }, milliseconds(10000));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, code_of_errno(EACCES));
  EXPECT_EQ(failed.error().detail, "a, detail");
  EXPECT_EQ(failed.error().sys_errno, EACCES);
}

TEST(HelperProcess, IsKilledAtTheDeadline) {
  const auto result = run_in_helper(
      [] {
        ::pause();
        return Result<std::string>("never");
      },
      milliseconds(50));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::Timeout);
}

TEST(HelperProcess, ReportsADeathWithoutAnswer) {
  const auto result = run_in_helper(
      []() -> Result<std::string> {
        ::kill(::getpid(), SIGKILL);
        return "never";
      },
      milliseconds(10000));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::Internal);
}

TEST(HelperProcess, HoldsNoneOfOurDescriptors) {
  const int ours = ::open("/dev/null", O_RDONLY);
  const auto result = run_in_helper(
      [&] {
        const bool open = ::fcntl(ours, F_GETFD) != -1;
        return Result<std::string>(ours > 3 && open ? "open" : "closed");
      },
      milliseconds(10000));
  ::close(ours);
  EXPECT_EQ(result.value(), "closed");
}

}  // namespace
}  // namespace tapdeck::trust
