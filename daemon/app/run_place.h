// Where the command of a run lives, so that all it connects to comes to us: a cgroup of its own that programs watch
// (for whoever may load them), or a user and a network namespace of its own (for everybody). Either ends what the
// command leaves behind, also when the run itself is killed.
// Owner: run_command. Thread: the main one; made before there is another.
#pragma once

#include <memory>
#include <string>

#include "daemon/app/child.h"
#include "daemon/app/run_command.h"
#include "daemon/base/result.h"

namespace tapdeck::app {

class RunPlace {
 public:
  virtual ~RunPlace() = default;

  // From its return on, all that is done there comes to these services, which it outlives.
  virtual Result<void> attach(RunServices& services) = 0;
  // How a command is put there.
  virtual void place(ChildOptions& child) const = 0;
  // Ends what outlived the command; how many processes that were.
  virtual size_t end_leftovers() = 0;
  // Somebody ended the process that watches over the command.
  [[nodiscard]] virtual bool is_unwatched() const = 0;
  // The command is gone, and nobody needs to be watched.
  virtual void end_watch() = 0;
};

// By `options.capture`: "auto" takes the cgroup where this process may capture by one, else the namespaces. What was
// chosen is in `options.capture` then. `why`: why auto has not taken the cgroup; else empty. Errors name what is
// missing for what was asked; those of auto for both.
struct ChosenPlace {
  std::unique_ptr<RunPlace> place;
  std::string why;
};
[[nodiscard]] Result<ChosenPlace> choose_place(RunOptions& options);

}  // namespace tapdeck::app
