#include "daemon/app/tool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "daemon/base/exec_array.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMaxOutput = 4UL << 20;

std::vector<std::string> c_locale_environment() {
  std::vector<std::string> out{"LC_ALL=C"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("LC_ALL=")) out.emplace_back(*entry);
  }
  return out;
}

Result<pid_t> spawn(std::vector<std::string>& argv, int out_fd, int err_fd) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
  posix_spawn_file_actions_adddup2(&actions, err_fd, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own, so that the deadline reaches its children; no mask and no ignored signal of the daemon's.
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> environment = c_locale_environment();
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes, exec_array(argv).data(),
                                   exec_array(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail_errno(error, argv[0]);
  return pid;
}

// What can be read now. False at end of file.
Result<bool> drain(int fd, std::string& text) {
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    if (n < 0) return fail_errno(errno, "read");
    if (n == 0) return false;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxOutput) return fail(Code::TooLarge, "more than 4 MiB of output");
  }
}

// Until the process ends, not until its pipes close: something it started, or a process forked by another thread of
// ours at the wrong moment, may hold them open for ever.
Result<int> collect(pid_t pid, const std::array<UniqueFd, 2>& pipes, ToolOutput& output, Clock::time_point until,
                    int cancel_fd) {
  const UniqueFd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!ended) return fail_errno(errno, "pidfd_open");
  std::array<pollfd, 4> polled{
      {{pipes[0].get(), POLLIN, 0}, {pipes[1].get(), POLLIN, 0}, {ended.get(), POLLIN, 0}, {cancel_fd, POLLIN, 0}}};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return fail(Code::Timeout, "no answer in time");
    if (::poll(polled.data(), polled.size(), static_cast<int>(left)) < 0 && errno != EINTR) {
      return fail_errno(errno, "poll");
    }
    if (polled[3].revents != 0) return fail(Code::Cancelled, "not waited for");
    const bool done = polled[2].revents != 0;  // seen before the last drain: nothing is written after it
    for (size_t i = 0; i < 2; ++i) {
      TRY(open, drain(pipes[i].get(), i == 0 ? output.out : output.err));
      if (!open) polled[i].fd = -1;
    }
    int status = 0;
    if (!done) continue;
    if (::waitpid(pid, &status, 0) != pid) return fail_errno(errno, "wait");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}

}  // namespace

Result<ToolOutput> run_tool(std::vector<std::string> argv, std::chrono::milliseconds deadline, int cancel_fd) {
  const auto until = Clock::now() + deadline;
  std::array<UniqueFd, 2> readers;
  std::array<UniqueFd, 2> writers;
  for (size_t i = 0; i < 2; ++i) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    readers[i] = UniqueFd(ends[0]);
    writers[i] = UniqueFd(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);  // the tool's end stays blocking
  }
  TRY(pid, spawn(argv, writers[0].get(), writers[1].get()));
  for (UniqueFd& writer : writers) writer.reset();
  ToolOutput output;
  Result<int> status = collect(pid, readers, output, until, cancel_fd);
  if (!status) {
    ::kill(-pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    status.error().detail = argv[0] + ": " + status.error().detail;
    return std::unexpected(status.error());
  }
  output.status = *status;
  return output;
}

}  // namespace tapdeck::app
