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
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "daemon/app/cgroup_tree.h"
#include "daemon/kernel/held_programs.h"

namespace tapdeck::app {
namespace {

constexpr char kName[] = "tapdeck-guard";
constexpr int kSocket = 3;
// After that only uninterruptible sleep keeps a process, and SIGKILL waits for it there.
constexpr std::chrono::milliseconds kKillLimit{10000};

// In ps and for pkill, with -f too: who ends runs by their command line must not end the guard first.
void rename_process() {
  ::prctl(PR_SET_NAME, kName);
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text, '\0');
  const size_t bracket = text.rfind(')');
  if (bracket == std::string::npos) return;
  std::istringstream fields(text.substr(bracket + 1));
  std::string skipped;
  for (int field = 3; field < 48; ++field) fields >> skipped;
  uintptr_t begin = 0;
  uintptr_t end = 0;
  if (!(fields >> begin >> end) || begin == 0 || end <= begin + sizeof kName) return;
  char* arguments = reinterpret_cast<char*>(begin);
  std::memset(arguments, 0, end - begin);
  std::memcpy(arguments, kName, sizeof kName);
}

void hold_nothing_but(int socket) {
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) {
    if (null >= 0 ? ::dup2(null, fd) < 0 : true) ::close(fd);
  }
  ::dup2(socket, kSocket);
  ::close_range(kSocket + 1, ~0U, 0);
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
  // Nothing more is ever sent: an orderly end kills us first.
  char nothing = 0;
  ignore(receive(kSocket, &nothing, 1), "whatever it says, the other end is gone");
  kill_all_in(cgroup, kKillLimit);
  ::_exit(0);
}

}  // namespace

Result<std::unique_ptr<RunGuard>> RunGuard::start() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno(errno, "socketpair");
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid == 0) guard_main(theirs.get());
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
