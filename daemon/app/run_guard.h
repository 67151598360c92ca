// The guard of a `tapdeck run`: a small process that ends the command and all its descendants when the run dies without
// having ended them itself. PR_SET_PDEATHSIG is not enough: it reaches the direct child only, and is forgotten when
// that changes its credentials (setpriv, sudo).
//
// It has a session of its own, so that neither the terminal nor a signal to our process group reaches it; it holds no
// descriptor of the caller's, blocks every signal it can, and is not in the run's cgroup. Until all are dead it also
// holds the programs on that cgroup: none of them connects past us in between, as long as the lease holds (those of a
// run that is not sealed let everybody pass when it ran out). It is not started again when it is killed itself.
// Owner: run_command. Thread: the main one.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {

class RunGuard {
 public:
  // Forks it: before there are other threads. It ends nothing yet.
  [[nodiscard]] static Result<std::unique_ptr<RunGuard>> start();
  RunGuard(const RunGuard&) = delete;
  RunGuard& operator=(const RunGuard&) = delete;
  ~RunGuard() { dismiss(); }

  [[nodiscard]] pid_t pid() const { return pid_; }
  // From its return on, our death is that of all in this cgroup and below. Programs must be attached by now.
  Result<void> watch(const std::string& cgroup);
  // Somebody ended it: from then on nobody watches.
  [[nodiscard]] bool has_died() const;
  // It ends and is reaped; nobody else is ended.
  void dismiss();

 private:
  RunGuard(pid_t pid, UniqueFd socket) : pid_(pid), socket_(std::move(socket)) {}

  pid_t pid_;
  UniqueFd socket_;  // it sees this end close when we die
};

}  // namespace tapdeck::app
