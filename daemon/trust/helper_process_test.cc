#include "daemon/trust/helper_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include <filesystem>
#include <new>

#include "daemon/base/eventually.h"

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

// Has the parent process traced by a child: what is traced cannot be reaped, however dead, before its tracer is.
void be_traced(pid_t& self, pid_t& tracer) {
  self = ::getpid();
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  int gate[2];
  if (::pipe(gate) != 0) return;
  const pid_t child = ::fork();
  if (child == 0) {
    const bool traces = ::ptrace(PTRACE_SEIZE, ::getppid(), nullptr, nullptr) == 0;
    static_cast<void>(::write(gate[1], traces ? "y" : "n", 1));
    while (true) ::pause();
  }
  char answer = 'n';
  static_cast<void>(::read(gate[0], &answer, 1));
  if (answer == 'y') {
    tracer = child;
  } else {
    ::kill(child, SIGKILL);
  }
  while (true) ::pause();
}

// As one that hangs in a mount does.
TEST(HelperProcess, OneThatDoesNotEndAtOnceIsReapedByALaterCall) {
  struct Pids {
    pid_t helper = 0;
    pid_t tracer = 0;
  };
  void* memory = ::mmap(nullptr, sizeof(Pids), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* pids = new (memory) Pids();
  const auto hung = run_in_helper(
      [&] {
        be_traced(pids->helper, pids->tracer);
        return Result<std::string>("never");
      },
      milliseconds(500));
  EXPECT_FALSE(hung);
  if (pids->tracer == 0) GTEST_SKIP() << "this process may not be traced";
  const std::string helper = "/proc/" + std::to_string(pids->helper);
  EXPECT_TRUE(std::filesystem::exists(helper)) << "killed, and nobody could reap it";
  ::kill(pids->tracer, SIGKILL);
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(run_in_helper([] { return Result<std::string>(""); }, milliseconds(10000)));
    return !std::filesystem::exists(helper);
  }));
  ::munmap(memory, sizeof(Pids));
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
