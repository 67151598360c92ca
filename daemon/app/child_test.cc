#include "daemon/app/child.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <utility>

namespace tapdeck::app {
namespace {

// Runs `body` in a process of its own, because it changes signal masks or dies; returns its wait status.
int in_process(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status;
}

ChildOptions shell(const std::string& script) {
  ChildOptions options;
  options.argv = {"/bin/sh", "-c", script};
  options.environment = {"PATH=/usr/bin:/bin", "GREETING=hello"};
  return options;
}

ExitStatus run(ChildOptions options) {
  const SignalRelay relay;
  auto child = Child::start(std::move(options), relay);
  EXPECT_TRUE(child) << child.error().message();
  const auto released = (*child)->release();
  EXPECT_TRUE(released) << released.error().message();
  return (*child)->wait(relay);
}

TEST(Child, GivesTheCommandsExitCode) {
  const ExitStatus status = run(shell("exit 41"));
  EXPECT_EQ(status.kind, ExitStatus::Kind::Exited);
  EXPECT_EQ(status.value, 41);
}

TEST(Child, TellsDeathBySignalFromAnExitCode) {
  const ExitStatus status = run(shell("kill -9 $$"));
  EXPECT_EQ(status.kind, ExitStatus::Kind::Signalled);
  EXPECT_EQ(status.value, SIGKILL);
}

TEST(Child, HasTheEnvironmentItWasGivenAndNoOther) {
  EXPECT_EQ(run(shell("test \"$GREETING\" = hello && test -z \"$HOME\"")).value, 0);
}

TEST(Child, DoesNothingBeforeItIsReleased) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const SignalRelay relay;
  ChildOptions options = shell("echo ran >&" + std::to_string(ends[1]));
  {
    auto child = Child::start(options, relay);
    ASSERT_TRUE(child) << child.error().message();
    EXPECT_EQ(::kill((*child)->pid(), 0), 0);
  }  // dropped at the gate: ended, not run
  ::close(ends[1]);
  char byte;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0);
  ::close(ends[0]);
}

TEST(Child, SaysWhetherACommandIsMissingOrNotExecutable) {
  const SignalRelay relay;
  const std::vector<std::pair<std::string, int>> cases = {
      {"tapdeck-no-such-command", 127}, {"/nonexistent/command", 127}, {"/etc/passwd", 126}, {"/tmp", 126}};
  for (const auto& [name, code] : cases) {
    ChildOptions options;
    options.argv = {name};
    auto child = Child::start(options, relay);
    ASSERT_TRUE(child) << child.error().message();
    const auto released = (*child)->release();
    ASSERT_FALSE(released) << name;
    EXPECT_EQ(exit_code_for(released.error()), code) << name;
    EXPECT_THAT(released.error().detail, testing::HasSubstr(name));
  }
  EXPECT_EQ(Child::start(ChildOptions{}, relay).error().code, Code::InvalidArgument);
}

TEST(Child, GetsSignalsThatProcessesSendUs) {
  // The shell says when its trap is set by ending the sleep of nobody: it signals us first.
  const int status = in_process([] {
    const SignalRelay relay;
    auto child = Child::start(shell("trap 'exit 7' TERM; kill -TERM $PPID; while :; do :; done"), relay);
    if (!child || !(*child)->release()) return 1;
    const ExitStatus ended = (*child)->wait(relay);
    return ended.kind == ExitStatus::Kind::Exited && ended.value == 7 ? 0 : 2;
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Child, IsEndedByACtrlCThatCameBeforeIt) {
  int terminal = -1;
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (pid == 0) {
    const SignalRelay relay;
    if (::write(STDOUT_FILENO, "ready", 5) != 5) ::_exit(2);
    sigset_t pending{};
    do {
      ::sigpending(&pending);
    } while (sigismember(&pending, SIGINT) != 1);
    auto child = Child::start(shell("exit 0"), relay);
    if (!child || !(*child)->release()) ::_exit(3);
    const ExitStatus status = (*child)->wait(relay);
    ::_exit(status.kind == ExitStatus::Kind::Signalled && status.value == SIGINT ? 0 : 4);
  }
  char said[5];
  ASSERT_EQ(::read(terminal, said, sizeof said), 5);
  ASSERT_EQ(::write(terminal, "\x03", 1), 1);
  int status = -1;
  ::waitpid(pid, &status, 0);
  ::close(terminal);
  EXPECT_EQ(status, 0);
}

// Runs `script` on a terminal of its own, waits until it has said "up", and does `act` to the terminal. The command
// ends by `expected`, or by a time-out of its own.
void expect_ended_by(int expected, const std::string& script, const std::function<void(int& terminal)>& act) {
  int terminal = -1;
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (pid == 0) {
    const SignalRelay relay;
    auto child = Child::start(shell(script), relay);
    if (!child || !(*child)->release()) ::_exit(3);
    const ExitStatus status = (*child)->wait(relay);
    ::_exit(status.kind == ExitStatus::Kind::Signalled && status.value == expected ? 0 : 4);
  }
  char said[2];
  ASSERT_EQ(::read(terminal, said, sizeof said), 2);
  act(terminal);
  int status = -1;
  ::waitpid(pid, &status, 0);
  if (terminal >= 0) ::close(terminal);
  EXPECT_EQ(status, 0) << strsignal(expected);
}

// As timeout(1) does.
TEST(Child, InAProcessGroupOfItsOwnIsGivenTheSignalsOfTheTerminal) {
  const std::string script =
      "exec python3 -c 'import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.setpgid(0, 0); os.write(1, "
      "b\"up\"); os.execvp(\"sleep\", [\"sleep\", \"10\"])'";
  for (const auto& [number, key] : {std::pair{SIGINT, "\x03"}, std::pair{SIGQUIT, "\x1c"}}) {
    expect_ended_by(number, script, [key](const int& terminal) { EXPECT_EQ(::write(terminal, key, 1), 1); });
  }
}

TEST(Child, IsHungUpWithTheTerminalOfASessionThatWeLead) {
  expect_ended_by(SIGHUP, "echo up; exec sleep 10", [](int& terminal) { ::close(std::exchange(terminal, -1)); });
}

TEST(Child, FindsMaskAndIgnoredSignalsAsWeFoundThem) {
  const int status = in_process([] {
    ::signal(SIGPIPE, SIG_DFL);
    ::signal(SIGHUP, SIG_IGN);  // nohup tapdeck run ...
    const SignalRelay relay;
    ::signal(SIGPIPE, SIG_IGN);  // our own servers' business
    auto child = Child::start(shell("exec grep -q '^SigIgn:.*0000001$' /proc/self/status"), relay);
    if (!child || !(*child)->release()) return 1;
    if ((*child)->wait(relay).value != 0) return 2;
    auto masked = Child::start(shell("exec grep -q '^SigBlk:.*0000000$' /proc/self/status"), relay);
    if (!masked || !(*masked)->release()) return 3;
    return (*masked)->wait(relay).value == 0 ? 0 : 4;
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Child, FindsTheSignalsBlockedThatOurCallerBlocked) {
  const int status = in_process([] {
    sigset_t callers;
    sigemptyset(&callers);
    for (const int number : {SIGUSR1, SIGALRM, SIGTERM, SIGCHLD}) sigaddset(&callers, number);
    ::sigprocmask(SIG_SETMASK, &callers, nullptr);
    const SignalRelay relay;
    auto child = Child::start(shell("exec grep -q '^SigBlk:.*0000000000016200$' /proc/self/status"), relay);
    if (!child || !(*child)->release()) return 1;
    return (*child)->wait(relay).value;
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Child, HasMountsOfItsOwnWhenAsked) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root (CAP_SYS_ADMIN) for a mount namespace";
  const SignalRelay relay;
  ChildOptions options = shell("exit 0");
  options.mounts = MountNamespace::Own;
  auto child = Child::start(options, relay);
  ASSERT_TRUE(child) << child.error().message();
  const auto theirs = std::filesystem::read_symlink("/proc/" + std::to_string((*child)->pid()) + "/ns/mnt");
  EXPECT_NE(theirs, std::filesystem::read_symlink("/proc/self/ns/mnt"));
}

TEST(EndLike, DiesOfTheSameSignal) {
  for (const int number : {SIGTERM, SIGKILL, SIGSEGV, SIGINT}) {
    const int status = in_process([number] {
      const SignalRelay relay;
      return end_like(ExitStatus{ExitStatus::Kind::Signalled, number});
    });
    ASSERT_TRUE(WIFSIGNALED(status)) << number;
    EXPECT_EQ(WTERMSIG(status), number);
    EXPECT_FALSE(WCOREDUMP(status));
  }
  EXPECT_EQ(end_like(ExitStatus{ExitStatus::Kind::Exited, 3}), 3);
}

}  // namespace
}  // namespace tapdeck::app
