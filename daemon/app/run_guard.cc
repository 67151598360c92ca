#include "daemon/app/run_guard.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/app/cgroup_tree.h"
#include "daemon/app/watcher_process.h"
#include "daemon/kernel/held_programs.h"

namespace tapdeck::app {
namespace {

constexpr std::string_view kName = "td-run-guard";
// After that only uninterruptible sleep keeps a process, and SIGKILL waits for it there.
constexpr std::chrono::milliseconds kGuardKillLimit{10000};

[[noreturn]] void guard_main(int socket) {
  become_watcher(socket, kName);
  std::array<char, PATH_MAX> path{};
  const ssize_t n = receive_from(kWatcherSocket, path.data(), path.size());
  if (n <= 0) ::_exit(0);  // died before it had a command
  const std::string cgroup(path.data(), static_cast<size_t>(n));
  const std::vector<UniqueFd> held = kernel::hold_programs_on(cgroup);
  ::send(kWatcherSocket, "w", 1, MSG_NOSIGNAL);
  // An orderly end kills us first.
  if (!has_closed(kWatcherSocket)) ::_exit(1);
  // The service's sandbox, which may be the next to look, could not remove it.
  if (kill_all_in(cgroup, kGuardKillLimit)) ignore(remove_cgroup(cgroup), "the next start does");
  ::_exit(0);
}

}  // namespace

Result<std::unique_ptr<RunGuard>> RunGuard::start() {
  TRY(ends, watcher_sockets());
  auto& [ours, theirs] = ends;
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid == 0) {
    ours.reset();  // kept open, it would never be seen to close
    guard_main(theirs.get());
  }
  return std::unique_ptr<RunGuard>(new RunGuard(pid, std::move(ours)));
}

Result<void> RunGuard::watch(const std::string& cgroup) {
  if (::send(socket_.get(), cgroup.data(), cgroup.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(cgroup.size())) {
    return fail_errno(errno, "tell the guard of the run what to watch");
  }
  char answer = 0;
  if (receive_from(socket_.get(), &answer, 1) != 1) return fail(Code::Internal, "the guard of the run has died");
  return {};
}

bool RunGuard::has_died() const {
  siginfo_t info{};
  return pid_ > 0 && ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

void RunGuard::dismiss() {
  if (pid_ < 0) return;
  // Not by the socket: it may be stopped. And first of all, for a closed socket is our death.
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  socket_.reset();
}

}  // namespace tapdeck::app
