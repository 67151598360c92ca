// Asking another program: runs it, collects what it prints, gives up at a deadline. For podman, docker and systemctl.
// Thread: any; the call blocks.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "daemon/base/result.h"

namespace tapdeck::app {

struct ToolOutput {
  int status = 0;  // exit code, or 128 + signal
  std::string out;
  std::string err;
};

// Looks for argv[0] on PATH; stdin is /dev/null and LC_ALL=C. NotFound when it is not there, Timeout when it (and its
// process group) was killed at the deadline, Cancelled when it was as `cancel_fd` became readable, TooLarge past 4 MiB
// of output.
[[nodiscard]] Result<ToolOutput> run_tool(std::vector<std::string> argv, std::chrono::milliseconds deadline,
                                          int cancel_fd = -1);

}  // namespace tapdeck::app
