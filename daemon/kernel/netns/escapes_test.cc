// Processes that leave the cgroup of a target, by every way there is, and those that do not.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>

#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/escapes.h"
#include "daemon/kernel/netns/capture_rig.h"

namespace tapdeck::kernel {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

// A process as cgroup.procs takes it; "0" is the writer. errno.
int move_to(const std::string& cgroup, const char* pid) {
  const int fd = ::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
  const int error = fd >= 0 && ::write(fd, pid, std::char_traits<char>::length(pid)) > 0 ? 0 : errno;
  ::close(fd);
  return error;
}

// errno of a child that starts in `cgroup` and ends at once.
int start_in(const std::string& cgroup) {
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<__u64>(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const long child = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
  if (child == 0) ::_exit(0);
  return child > 0 && ::waitpid(static_cast<pid_t>(child), nullptr, 0) == child ? 0 : errno;
}

// What a child returns whose second thread, not its leader, becomes `sh -c script`. wait status.
int script_by_second_thread(const char* script) {
  const pid_t child = ::fork();
  if (child == 0) {
    pthread_t thread{};
    const auto execute = [](void* text) -> void* {
      ::execl("/bin/sh", "sh", "-c", static_cast<const char*>(text), nullptr);
      ::_exit(96);
    };
    if (::pthread_create(&thread, nullptr, execute, const_cast<char*>(script)) != 0) ::_exit(97);
    ::pthread_join(thread, nullptr);
    ::_exit(98);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child ? status : -1;
}

class Leaving : public CgroupCapture {
 protected:
  void SetUp() override {
    CgroupCapture::SetUp();
    if (IsSkipped()) return;
    auto maps = BpfMaps::create(1024);
    ASSERT_TRUE(maps) << maps.error().message();
    if (const auto escapes = Escapes::watch(**maps); !escapes) GTEST_SKIP() << "NOT RUN: " << escapes.error().message();
  }
  void TearDown() override { resident_.reset(); }  // wherever it went: cgroups are removed next
  std::string below(const char* name) {
    const std::string path = cgroup_.path() + "/" + name;
    EXPECT_EQ(::mkdir(path.c_str(), 0755), 0);
    return path;
  }
  uint64_t left() { return uncaptured(Uncaptured::LeftCgroup); }

  lab::TestCgroup elsewhere_;
  lab::TestCgroup further_;  // not the root of the mount, which may be kept without processes
};

TEST_F(Leaving, AProcessThatMovesItselfIsCountedAndNamed) {
  attach(kOpen);
  Client client(cgroup_.path(), -1, [&](Report& report) { report.error = move_to(elsewhere_.path(), "0"); });
  const Report report = client.report();
  ASSERT_EQ(report.error, 0);
  EXPECT_EQ(left(), 1U);
  ASSERT_TRUE(eventually([&] { return !sink_.departures().empty(); }));
  const Departure departure = sink_.departures().front();
  EXPECT_EQ(departure.target, kSlot);
  EXPECT_EQ(departure.pid, static_cast<uint32_t>(report.pid));
  EXPECT_NE(departure.comm[0], '\0');
  EXPECT_EQ(departure.cgroup, elsewhere_.path());
}

TEST_F(Leaving, AProcessOfBeforeTheAttachThatAnotherMovesIsCounted) {
  attach(kSealed);
  ASSERT_EQ(move_to(elsewhere_.path(), std::to_string(resident_->pid()).c_str()), 0);
  EXPECT_EQ(left(), 1U);
  // It is out already: where it goes now is its own affair.
  ASSERT_EQ(move_to(further_.path(), std::to_string(resident_->pid()).c_str()), 0);
  EXPECT_EQ(left(), 1U);
  ASSERT_TRUE(eventually([&] { return !sink_.departures().empty(); }));
  EXPECT_THAT(sink_.departures(), SizeIs(1));
}

TEST_F(Leaving, AChildThatIsBornElsewhereIsCounted) {
  attach(kOpen);
  Client client(cgroup_.path(), -1, [&](Report& report) { report.error = start_in(elsewhere_.path()); });
  ASSERT_EQ(client.report().error, 0);
  EXPECT_EQ(left(), 1U);
  ASSERT_TRUE(eventually([&] { return !sink_.departures().empty(); }));
  EXPECT_EQ(sink_.departures().front().cgroup, elsewhere_.path());
}

TEST_F(Leaving, AChildOfAProcessInItIsCountedWhenItLeaves) {
  attach(kOpen);
  Client client(cgroup_.path(), -1, [&](Report& report) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(move_to(elsewhere_.path(), "0"));
    if (::waitpid(child, &report.error, 0) != child) report.error = -1;
  });
  ASSERT_EQ(client.report().error, 0);
  EXPECT_EQ(left(), 1U);
}

TEST_F(Leaving, AThreadThatBecomesAnotherProgramAndItsChildrenAreCounted) {
  attach(kOpen);
  const std::string leave = "echo $$ > " + elsewhere_.path() + "/cgroup.procs";
  const std::string script = "sh -c '" + leave + "' && " + leave;
  Client client(cgroup_.path(), -1, [&](Report& report) { report.error = script_by_second_thread(script.c_str()); });
  ASSERT_EQ(client.report().error, 0);
  EXPECT_EQ(left(), 2U);
}

TEST_F(Leaving, AThreadThatBecomesAnotherProgramElsewhereIsNotCounted) {
  attach(kOpen);
  const std::string script = "echo $$ > " + further_.path() + "/cgroup.procs";
  Client client(elsewhere_.path(), -1, [&](Report& report) { report.error = script_by_second_thread(script.c_str()); });
  ASSERT_EQ(client.report().error, 0);
  EXPECT_EQ(left(), 0U);
}

// Events of departures share a ring with those that ask for listeners.
TEST_F(Leaving, OfManyAtOnceAllAreCountedAndFewAreTold) {
  constexpr int kMany = 200;
  attach(kOpen);
  const auto begin = std::chrono::steady_clock::now();
  Client client(cgroup_.path(), -1, [&](Report& report) {
    for (int i = 0; i < kMany && report.error == 0; ++i) report.error = start_in(elsewhere_.path());
  });
  ASSERT_EQ(client.report().error, 0);
  const auto intervals = (std::chrono::steady_clock::now() - begin) / std::chrono::milliseconds(100);
  EXPECT_EQ(left(), uint64_t{kMany});
  ASSERT_TRUE(eventually([&] { return !sink_.departures().empty(); }));
  EXPECT_EQ(left(), uint64_t{kMany});  // the control thread answers: it has been through the ring
  EXPECT_LE(sink_.departures().size(), static_cast<size_t>(intervals) + 1);
}

TEST_F(Leaving, WhoStaysBelowIsNotCountedUntilItLeaves) {
  attach(kOpen);
  const std::string one = below("one");
  const std::string two = below("two");
  {
    Client client(one, -1, [&](Report& report) {
      for (const std::string& next : {two, cgroup_.path(), one}) {
        if (report.error == 0) report.error = move_to(next, "0");
      }
      if (report.error == 0) report.error = start_in(two);
    });
    EXPECT_EQ(client.report().error, 0);
    EXPECT_EQ(left(), 0U);
    EXPECT_EQ(move_to(elsewhere_.path(), std::to_string(client.pid()).c_str()), 0);
    EXPECT_EQ(left(), 1U);
  }
  for (const std::string& made : {one, two}) {
    EXPECT_TRUE(eventually([&] { return ::rmdir(made.c_str()) == 0; }));
  }
}

TEST_F(Leaving, WhoWasNeverInItIsNotCounted) {
  attach(kOpen);
  Client client(elsewhere_.path(), -1, [&](Report& report) {
    report.error = move_to(further_.path(), "0");
    if (report.error == 0) report.error = start_in(elsewhere_.path());
    if (report.error == 0) report.error = start_in(cgroup_.path());
    if (report.error == 0) report.error = move_to(cgroup_.path(), "0");
  });
  ASSERT_EQ(client.report().error, 0);
  EXPECT_EQ(left(), 0U);
  EXPECT_THAT(sink_.departures(), IsEmpty());
}

TEST_F(Leaving, OnlyTheTargetThatIsLeftCounts) {
  constexpr uint32_t kInner = kSlot + 1;
  attach(kOpen);
  const std::string inner = below("inner");
  ASSERT_TRUE(capture_->attach_cgroup(kInner, inner, kOpen));
  const auto of_inner = [&] {
    for (const TargetStats& one : capture_->stats().targets) {
      if (one.target == kInner) return one.uncaptured[static_cast<size_t>(Uncaptured::LeftCgroup)];
    }
    return uint64_t{0};
  };
  {
    Client client(inner, -1, [](Report&) {});
    (void)client.report();
    const std::string pid = std::to_string(client.pid());
    EXPECT_EQ(move_to(cgroup_.path(), pid.c_str()), 0);
    EXPECT_EQ(of_inner(), 1U);
    EXPECT_EQ(left(), 0U);
    EXPECT_EQ(move_to(inner, pid.c_str()), 0);
    EXPECT_EQ(move_to(elsewhere_.path(), pid.c_str()), 0);
    EXPECT_EQ(of_inner(), 2U);
    EXPECT_EQ(left(), 1U);
  }
  ASSERT_TRUE(capture_->detach(kInner));
  EXPECT_TRUE(eventually([&] { return ::rmdir(inner.c_str()) == 0; }));
}

TEST_F(Leaving, ADetachedTargetIsLeftByNobody) {
  attach(kOpen);
  ASSERT_TRUE(capture_->detach(kSlot));
  // The slot has another cgroup now, which the process was never in.
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, elsewhere_.path(), kOpen));
  ASSERT_EQ(move_to(further_.path(), std::to_string(resident_->pid()).c_str()), 0);
  EXPECT_EQ(left(), 0U);
}

}  // namespace
}  // namespace tapdeck::kernel
