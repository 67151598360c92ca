#include "daemon/app/run_guard.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "daemon/app/cgroup_tree.h"
#include "daemon/base/processes.h"
#include "daemon/kernel/held_programs.h"

namespace tapdeck::app {
namespace {

// Without our name: `pkill -9 tapdeck`, with -f too, must not end it before the run, or with it. Who goes by the
// executable (pidof, fuser) or by the cgroup still finds it.
constexpr char kName[] = "td-run-guard";
constexpr int kSocket = 3;
// After that only uninterruptible sleep keeps a process, and SIGKILL waits for it there.
constexpr std::chrono::milliseconds kGuardKillLimit{10000};

void rename_process() {
  ::prctl(PR_SET_NAME, kName);
  const uintptr_t begin = stat_field("self", 48);  // arg_start and arg_end
  const uintptr_t end = stat_field("self", 49);
  if (begin == 0 || end <= begin + sizeof kName) return;
  char* arguments = reinterpret_cast<char*>(begin);
  std::memset(arguments, 0, end - begin);
  std::memcpy(arguments, kName, sizeof kName);
}

// Under a filter of system calls that knows no close_range().
void close_listed_from(int first) {
  std::vector<int> open;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) {
    open.push_back(std::atoi(it->path().filename().c_str()));
  }
  for (const int fd : open) {
    if (fd >= first) ::close(fd);  // that of the listing is closed already
  }
}

// Into standard error, closed by the caller, people write.
UniqueFd above_standard(UniqueFd fd) {
  if (fd.get() > 2) return fd;
  return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
}

void hold_nothing_but(int socket) {
  ::dup2(socket, kSocket);
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) {
    if (null == fd) continue;
    if (null >= 0 ? ::dup2(null, fd) < 0 : true) ::close(fd);
  }
  if (::close_range(kSocket + 1, ~0U, 0) != 0) close_listed_from(kSocket + 1);
  // The directory of the caller could not be unmounted.
  if (::chdir("/") != 0) return;
}

ssize_t receive(int fd, char* buffer, size_t size) {
  ssize_t n = 0;
  do {
    n = ::recv(fd, buffer, size, 0);
  } while (n < 0 && errno == EINTR);
  return n;
}

// The other end is closed. Whatever else comes says nothing of that.
bool has_closed(int fd) {
  char skipped = 0;
  ssize_t n = 0;
  do {
    n = receive(fd, &skipped, 1);
  } while (n > 0);
  return n == 0 || errno == ECONNRESET;  // ECONNRESET: with our answer unread
}

[[noreturn]] void guard_main(int socket) {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  ::setsid();
  hold_nothing_but(socket);
  rename_process();
  std::array<char, PATH_MAX> path{};
  const ssize_t n = receive(kSocket, path.data(), path.size());
  if (n <= 0) ::_exit(0);  // died before it had a command
  const std::string cgroup(path.data(), static_cast<size_t>(n));
  const std::vector<UniqueFd> held = kernel::hold_programs_on(cgroup);
  ::send(kSocket, "w", 1, MSG_NOSIGNAL);
  // An orderly end kills us first.
  if (!has_closed(kSocket)) ::_exit(1);
  // The service's sandbox, which may be the next to look, could not remove it.
  if (kill_all_in(cgroup, kGuardKillLimit)) ignore(remove_cgroup(cgroup), "the next start does");
  ::_exit(0);
}

}  // namespace

Result<std::unique_ptr<RunGuard>> RunGuard::start() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno(errno, "socketpair");
  // The first descriptor that is free may be 0, 1 or 2.
  UniqueFd first(ends[0]);
  UniqueFd second(ends[1]);
  UniqueFd ours = above_standard(std::move(first));
  const UniqueFd theirs = above_standard(std::move(second));
  if (!ours || !theirs) return fail_errno(errno, "move the guard's socket");
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
  if (receive(socket_.get(), &answer, 1) != 1) return fail(Code::Internal, "the guard of the run has died");
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
