// The cgroup of one `tapdeck run`: made, watched, emptied and removed. Not capture: kernel/ attaches programs to it.
// Owner: run_command. Thread: one at a time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {

// A leaf `tapdeck-run-<our pid>-<n>` below our own cgroup2 cgroup, or below the root where that is not writable. Locked
// as long as we live, which processes in other process namespaces see too.
class RunCgroup {
 public:
  // Unsupported without cgroup2; Permission when no cgroup can be made. Removes stale ones of earlier runs first.
  [[nodiscard]] static Result<std::unique_ptr<RunCgroup>> create();
  // The same directly below `parent`, an absolute directory in the cgroup2 mount.
  [[nodiscard]] static Result<std::unique_ptr<RunCgroup>> create_below(const std::string& parent);
  RunCgroup(const RunCgroup&) = delete;
  RunCgroup& operator=(const RunCgroup&) = delete;
  // Removes it, if remove() has not.
  ~RunCgroup();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Of all processes in it and in cgroups the command made below it.
  [[nodiscard]] std::vector<pid_t> pids() const;

  // Ends what outlived the command: waits `settle`, then SIGTERM, then after `grace` SIGKILL. Returns how many
  // processes were there to be signalled.
  size_t end_leftovers(std::chrono::milliseconds settle = std::chrono::milliseconds(100),
                       std::chrono::milliseconds grace = std::chrono::milliseconds(2000));
  // Removes it and what the command made below it; tries for a second while the kernel still reaps. Busy when
  // processes live in it.
  Result<void> remove();

 private:
  RunCgroup(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  UniqueFd fd_;
};

// Kills what lives in the cgroup of a run that is dead and says so in the log: after success nobody lives there. Then
// it removes it; where it cannot (cgroups are read-only in the service's sandbox), that is only logged. Nothing there:
// success. Busy: its run lives, or it is no run's. Unsupported: we live in it ourselves. Else: who lives there could
// not be killed, or not be seen; the detail names the next step.
Result<void> clear_dead_run_cgroup(const std::string& cgroup);
// The same of all `tapdeck-run-PID-*` directly below `parent` whose run is dead; what fails is logged. How many it was.
size_t clear_dead_run_cgroups_below(const std::string& parent);
// The same wherever a run of ours would make one.
void clear_dead_run_cgroups();

}  // namespace tapdeck::app
