// The command of `tapdeck run`: its process, the signals between us and it, and how it ended.
//
// Not capture and not trust: start() leaves the process waiting at a gate inside its cgroup or namespaces (and, when
// asked, a mount namespace of its own), so that the caller can attach programs and bind trust before the first
// instruction of the command. It begins in our process group and session: the terminal's signals reach it directly, job
// control works as for `env CMD`. Owner: run_command. Thread: the main thread; SignalRelay must be made before any
// other thread.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {

// Blocks the signals a command may be sent, so that they queue for Child::wait, for this thread and all it starts
// later, and remembers what the command must find. SIGTSTP is not among them: the terminal stops us with the command.
// The destructor restores the mask.
class SignalRelay {
 public:
  SignalRelay();
  ~SignalRelay();
  SignalRelay(const SignalRelay&) = delete;
  SignalRelay& operator=(const SignalRelay&) = delete;

  // The mask that was in force before: the command gets it.
  [[nodiscard]] const sigset_t& previous() const { return previous_; }
  [[nodiscard]] const sigset_t& blocked() const { return blocked_; }
  // Puts mask, dispositions and limits back, in a child about to exec. Async-signal-safe.
  void restore_in_child() const;

 private:
  sigset_t previous_{};
  sigset_t blocked_{};
  sigset_t ignored_{};  // as nohup leaves SIGHUP
  rlimit open_files_{};
};

enum class MountNamespace { Shared, Own };

struct ChildOptions {
  std::vector<std::string> argv;         // not empty; argv[0] is looked for on our PATH
  std::vector<std::string> environment;  // all of it, "NAME=value"
  int cgroup_fd = -1;                    // directory; -1: stay in ours
  int user_namespace_fd = -1;            // joined first, then that of the network; -1: stay in ours
  int network_namespace_fd = -1;
  MountNamespace mounts = MountNamespace::Shared;
};

// How a command ended.
struct ExitStatus {
  enum class Kind { Exited, Signalled };
  Kind kind = Kind::Exited;
  int value = 0;  // exit code, or signal number
};

inline constexpr int kExitOurFailure = 125;
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;

class Child {
 public:
  // Forks; returns when the process is in its cgroup and namespace, waiting for release(). Signal mask, ignored
  // signals and the limit of open files are in it what they were when the relay was made. A mount namespace of its own
  // receives what the host mounts later, and gives nothing back. Permission when it may not have one.
  [[nodiscard]] static Result<std::unique_ptr<Child>> start(ChildOptions options, const SignalRelay& relay);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  // A child still at the gate is ended and reaped. A released one is not touched.
  ~Child();

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Lets it exec. NotFound (exit 127) or Permission (exit 126) when it could not: the process is reaped then.
  Result<void> release();
  // Until it ends. Passes on signals sent to us by processes, and those of the terminal that went to us alone: when it
  // has made a process group of its own, and the hang-up when we lead the session. (A signal that a process sends to
  // our whole process group reaches it twice: nothing tells that from one sent to us.)
  // `told` hears of each before it is passed on, also of those that the command has already.
  [[nodiscard]] ExitStatus wait(const SignalRelay& relay, const std::function<void(const siginfo_t&)>& told = {});

 private:
  Child() = default;

  pid_t pid_ = -1;
  bool at_gate_ = false;
  bool reaped_ = false;
  std::string name_;  // argv[0]
  UniqueFd gate_;     // our end of the socket pair
};

// 126 or 127 for a failed release(), else 125.
[[nodiscard]] int exit_code_for(const Error& error);

// Ends this process as the command ended: returns its exit code, or dies of its signal (without a core of our own).
// Call it last. Returns 128 + signal if the signal could not end us.
[[nodiscard]] int end_like(ExitStatus status);

}  // namespace tapdeck::app
