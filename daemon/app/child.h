// The command of `tapdeck run`: its cgroup, its process, the signals between us and it, and how it ended.
//
// Not capture and not trust: start() leaves the process waiting at a gate inside its cgroup (and, when asked, a mount
// namespace of its own), so that the caller can attach programs and bind trust before the first instruction of the
// command. It stays in our process group and session: the terminal's signals reach it directly, job control works as
// for `env CMD`. Owner: run_command. Thread: the main thread; SignalRelay must be made before any other thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {

// Where cgroup2 is mounted (/proc/self/mounts; hybrid layouts have it below v1). Unsupported when it is not.
[[nodiscard]] Result<std::string> find_cgroup2_mount(const std::string& mounts_file = "/proc/self/mounts");

// A leaf cgroup `tapdeck-run-<our pid>-<n>` below our own cgroup2 cgroup, or below the root where that is not writable.
class RunCgroup {
 public:
  // Permission when no cgroup can be made. Also removes empty leftovers of runs whose process is gone.
  [[nodiscard]] static Result<std::unique_ptr<RunCgroup>> create();
  RunCgroup(const RunCgroup&) = delete;
  RunCgroup& operator=(const RunCgroup&) = delete;
  // Removes it, if remove() has not.
  ~RunCgroup();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::vector<pid_t> pids() const;

  // Ends what outlived the command: waits `settle`, then SIGTERM, then after `grace` SIGKILL (cgroup.kill, or one by
  // one before Linux 5.14). Returns how many processes had to be signalled.
  size_t end_leftovers(std::chrono::milliseconds settle = std::chrono::milliseconds(100),
                       std::chrono::milliseconds grace = std::chrono::milliseconds(2000));
  // rmdir, tried again for a second while the kernel still reaps (EBUSY).
  Result<void> remove();

 private:
  RunCgroup(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  [[nodiscard]] bool wait_empty(std::chrono::milliseconds limit) const;
  void signal_all(int signal) const;

  std::string path_;
  UniqueFd fd_;
};

// Removes empty `tapdeck-run-PID-*` cgroups directly below `parent` whose PID is gone. Returns how many.
size_t remove_stale_run_cgroups(const std::string& parent);

// Blocks the signals a command may be sent, so that they queue for the relay, for this thread and all it starts later.
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

 private:
  sigset_t previous_{};
  sigset_t blocked_{};
};

enum class MountNamespace { Shared, Own };

struct ChildOptions {
  std::vector<std::string> argv;  // not empty
  int cgroup_fd = -1;             // directory; -1: stay in ours
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
  // Forks; returns when the process is in its cgroup and namespace, waiting for release(). The relay's previous mask
  // and default dispositions are restored in it.
  [[nodiscard]] static Result<std::unique_ptr<Child>> start(ChildOptions options, const SignalRelay& relay);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  // A child still at the gate is ended and reaped. A released one is not touched.
  ~Child();

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Lets it exec with `environment` ("NAME=value"). NotFound (exit 127) or Permission (exit 126) when it could not:
  // the process is reaped then.
  Result<void> release(const std::vector<std::string>& environment);
  // Until it ends. Passes on signals sent to us by processes; those of the terminal it has got itself.
  [[nodiscard]] ExitStatus wait(const SignalRelay& relay);

 private:
  Child() = default;
  void reap();

  pid_t pid_ = -1;
  bool at_gate_ = false;
  bool reaped_ = false;
  std::vector<std::string> argv_;
  UniqueFd gate_;  // our end of the socket pair
};

// 126 or 127 for a failed release(), else 125.
[[nodiscard]] int exit_code_for(const Error& error);

// Ends this process as the command ended: returns its exit code, or dies of its signal (without a core of our own).
// Call it last. Returns 128 + signal if the signal could not end us.
[[nodiscard]] int end_like(ExitStatus status);

}  // namespace tapdeck::app
