#include "daemon/app/child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "daemon/base/exec_array.h"

namespace tapdeck::app {
namespace {

constexpr std::array<int, 8> kRelayed = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};

// What the child tells us through the gate: which step failed with which errno. Step Ready and nothing more means that
// exec succeeded, because the socket closed with it.
enum class Step : int { Ready, Cgroup, Join, Namespace, Propagation, Exec };
struct Message {
  Step step = Step::Ready;
  int error = 0;
};

struct Plan {
  int gate = -1;
  int cgroup_procs = -1;  // cgroup.procs of its cgroup, open for writing
  int user_namespace = -1;
  int network_namespace = -1;
  MountNamespace mounts = MountNamespace::Shared;
  char** argv = nullptr;
  char** environment = nullptr;
  const SignalRelay* relay = nullptr;
  pid_t parent = 0;
};

Message prepare(const Plan& plan) {
  if (plan.cgroup_procs >= 0 && ::write(plan.cgroup_procs, "0", 1) != 1) return {Step::Cgroup, errno};
  if (plan.user_namespace >= 0 && ::setns(plan.user_namespace, CLONE_NEWUSER) != 0) return {Step::Join, errno};
  if (plan.network_namespace >= 0 && ::setns(plan.network_namespace, CLONE_NEWNET) != 0) return {Step::Join, errno};
  if (plan.mounts == MountNamespace::Shared) return {};
  if (::unshare(CLONE_NEWNS) != 0) return {Step::Namespace, errno};
  // Slave, not private: what the host mounts while a long command runs is still seen by it.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return {Step::Propagation, errno};
  return {};
}

// Between fork and exec, in a copy of a process with threads: system calls only, no allocation.
[[noreturn]] void child_main(const Plan& plan) {
  Message message = prepare(plan);
  if (::send(plan.gate, &message, sizeof message, MSG_NOSIGNAL) != sizeof message || message.step != Step::Ready) {
    ::_exit(kExitOurFailure);
  }
  char go = 0;
  ssize_t got = 0;
  do {
    got = ::recv(plan.gate, &go, 1, 0);
  } while (got < 0 && errno == EINTR);
  // Our parent is gone, or gave up.
  if (got != 1) ::_exit(kExitOurFailure);
  // Without us its connections would go where nobody records or answers them.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != plan.parent) ::_exit(kExitOurFailure);
  plan.relay->restore_in_child();
  ::execvpe(plan.argv[0], plan.argv, plan.environment);
  message = {Step::Exec, errno};
  ::send(plan.gate, &message, sizeof message, MSG_NOSIGNAL);
  ::_exit(message.error == ENOENT ? kExitNotFound : kExitNotExecutable);
}

// False at end of file.
Result<bool> receive(int fd, Message& message) {
  ssize_t n = 0;
  do {
    n = ::recv(fd, &message, sizeof message, MSG_WAITALL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno(errno, "receive from the command's process");
  return n == sizeof message;
}

// Those of the relay that came already, in the order of their numbers.
std::vector<int> take_pending(const SignalRelay& relay) {
  std::vector<int> taken;
  const timespec at_once{};
  int number = 0;
  while ((number = ::sigtimedwait(&relay.blocked(), nullptr, &at_once)) > 0) {
    if (number != SIGCHLD) taken.push_back(number);
  }
  return taken;
}

// The terminal signals (SI_KERNEL) its foreground process group, so that the command got it as well while it is in
// ours; timeout(1) and shells with job control have one of their own. A hang-up goes to the leader of the session
// alone.
bool has_it_already(const siginfo_t& signal, pid_t command) {
  if (signal.si_code != SI_KERNEL || ::getpgid(command) != ::getpgrp()) return false;
  return signal.si_signo != SIGHUP || ::getsid(0) != ::getpid();
}

Error failure(const Message& message, const std::string& name) {
  switch (message.step) {
    case Step::Cgroup:
      return fail_errno(message.error, "join the command's cgroup", Origin::Kernel).error();
    case Step::Join:
      return fail_errno(message.error, "join the command's namespaces", Origin::Kernel).error();
    case Step::Namespace:
      return fail_errno(message.error, "give the command a mount namespace (CAP_SYS_ADMIN)", Origin::Kernel).error();
    case Step::Propagation:
      return fail_errno(message.error, "make the command's mounts its own", Origin::Kernel).error();
    case Step::Exec: {
      const bool missing = message.error == ENOENT || message.error == ENOTDIR;
      return Error{missing ? Code::NotFound : Code::Permission, name, Origin::Kernel, Retry::No, message.error};
    }
    case Step::Ready:
      break;
  }
  return Error{Code::Internal, "the command's process said nothing", Origin::Internal, Retry::No, 0};
}

}  // namespace

SignalRelay::SignalRelay() {
  sigemptyset(&blocked_);
  for (const int number : kRelayed) sigaddset(&blocked_, number);
  sigemptyset(&ignored_);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action{};
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) sigaddset(&ignored_, number);
  }
  ::getrlimit(RLIMIT_NOFILE, &open_files_);
  // Inherited as ignored, it would reap our children before we can ask how they ended.
  ::signal(SIGCHLD, SIG_DFL);
  ::pthread_sigmask(SIG_BLOCK, &blocked_, &previous_);
}

SignalRelay::~SignalRelay() {
  ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

void SignalRelay::restore_in_child() const {
  for (int number = 1; number < NSIG; ++number) {
    if (number == SIGKILL || number == SIGSTOP) continue;
    ::signal(number, sigismember(&ignored_, number) == 1 ? SIG_IGN : SIG_DFL);
  }
  ::setrlimit(RLIMIT_NOFILE, &open_files_);
  ::sigprocmask(SIG_SETMASK, &previous_, nullptr);
}

Result<std::unique_ptr<Child>> Child::start(ChildOptions options, const SignalRelay& relay) {
  if (options.argv.empty() || options.argv.front().empty()) return fail(Code::InvalidArgument, "no command given");
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno(errno, "socketpair");
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  UniqueFd procs;
  if (options.cgroup_fd >= 0) {
    procs = UniqueFd(::openat(options.cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC));
    if (!procs) return fail_errno(errno, "open cgroup.procs", Origin::Kernel);
  }
  std::vector<char*> argv = exec_array(options.argv);
  std::vector<char*> environment = exec_array(options.environment);
  const Plan plan{.gate = theirs.get(),
                  .cgroup_procs = procs.get(),
                  .user_namespace = options.user_namespace_fd,
                  .network_namespace = options.network_namespace_fd,
                  .mounts = options.mounts,
                  .argv = argv.data(),
                  .environment = environment.data(),
                  .relay = &relay,
                  .parent = ::getpid()};

  // Ctrl-C while we were starting: the command was not there yet to get it from the terminal.
  const std::vector<int> early = take_pending(relay);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid == 0) {
    // Our end too: else it would never see it close when we die. close() is a system call only.
    ::close(ours.get());
    child_main(plan);
  }
  theirs.reset();
  auto child = std::unique_ptr<Child>(new Child());
  child->pid_ = pid;
  child->at_gate_ = true;
  child->name_ = options.argv.front();
  child->gate_ = std::move(ours);
  for (const int number : early) ::kill(pid, number);  // waits there until its own mask is back
  Message message;
  TRY(said, receive(child->gate_.get(), message));
  if (!said) return fail(Code::Internal, "the command's process died before it began");
  if (message.step != Step::Ready) return std::unexpected(failure(message, child->name_));
  return child;
}

Child::~Child() {
  if (!at_gate_ || reaped_) return;
  gate_.reset();
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

Result<void> Child::release() {
  if (::send(gate_.get(), "g", 1, MSG_NOSIGNAL) != 1) return fail_errno(errno, "let the command begin");
  Message message;
  TRY(said, receive(gate_.get(), message));
  at_gate_ = false;
  gate_.reset();
  if (!said) return {};
  ::waitpid(pid_, nullptr, 0);
  reaped_ = true;
  return std::unexpected(failure(message, name_));
}

ExitStatus Child::wait(const SignalRelay& relay, const std::function<void(const siginfo_t&)>& told) {
  for (;;) {
    siginfo_t ended{};
    const int waited = ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG);
    // ECHILD cannot happen unless somebody else reaps; then we know nothing better than failure.
    if (waited != 0 && errno != EINTR) return {ExitStatus::Kind::Exited, kExitOurFailure};
    if (waited == 0 && ended.si_pid == pid_) {
      reaped_ = true;
      if (ended.si_code == CLD_EXITED) return {ExitStatus::Kind::Exited, ended.si_status};
      return {ExitStatus::Kind::Signalled, ended.si_status};
    }
    siginfo_t info{};
    const int number = ::sigwaitinfo(&relay.blocked(), &info);
    if (number <= 0 || number == SIGCHLD) continue;
    if (told) told(info);
    if (!has_it_already(info, pid_)) ::kill(pid_, number);
  }
}

int exit_code_for(const Error& error) {
  if (error.code == Code::NotFound) return kExitNotFound;
  if (error.code == Code::Permission) return kExitNotExecutable;
  return kExitOurFailure;
}

int end_like(ExitStatus status) {
  if (status.kind == ExitStatus::Kind::Exited) return status.value;
  // The command has left its core, if any; ours would only hide it.
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::signal(status.value, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, status.value);
  ::kill(::getpid(), status.value);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  return 128 + status.value;
}

}  // namespace tapdeck::app
