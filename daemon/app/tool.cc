#include "daemon/app/tool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

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

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
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
  const int error =
      ::posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes, pointers(argv).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail_errno(error, argv[0]);
  return pid;
}

// Both pipes to their ends.
Result<void> collect(std::array<UniqueFd, 2>& pipes, ToolOutput& output, Clock::time_point until) {
  std::array<std::string*, 2> texts{&output.out, &output.err};
  while (pipes[0] || pipes[1]) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return fail(Code::Timeout, "no answer in time");
    std::array<pollfd, 2> polled{{{pipes[0].get(), POLLIN, 0}, {pipes[1].get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), static_cast<int>(left)) < 0 && errno != EINTR) {
      return fail_errno(errno, "poll");
    }
    for (size_t i = 0; i < 2; ++i) {
      if (polled[i].revents == 0) continue;
      char buffer[16384];
      const ssize_t n = ::read(pipes[i].get(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        pipes[i].reset();
        continue;
      }
      texts[i]->append(buffer, static_cast<size_t>(n));
      if (texts[i]->size() > kMaxOutput) return fail(Code::TooLarge, "more than 4 MiB of output");
    }
  }
  return {};
}

// It may close its output and stay.
Result<int> wait_status(pid_t pid, Clock::time_point until) {
  for (;;) {
    int status = 0;
    const pid_t waited = ::waitpid(pid, &status, WNOHANG);
    if (waited == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (waited < 0 && errno != EINTR) return fail_errno(errno, "wait");
    if (Clock::now() >= until) return fail(Code::Timeout, "no end in time");
    ::usleep(2000);
  }
}

}  // namespace

Result<ToolOutput> run_tool(std::vector<std::string> argv, std::chrono::milliseconds deadline) {
  const auto until = Clock::now() + deadline;
  std::array<UniqueFd, 2> readers;
  std::array<UniqueFd, 2> writers;
  for (size_t i = 0; i < 2; ++i) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    readers[i] = UniqueFd(ends[0]);
    writers[i] = UniqueFd(ends[1]);
  }
  TRY(pid, spawn(argv, writers[0].get(), writers[1].get()));
  for (UniqueFd& writer : writers) writer.reset();
  ToolOutput output;
  const Result<void> collected = collect(readers, output, until);
  Result<int> status = collected ? wait_status(pid, until) : std::unexpected(collected.error());
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
