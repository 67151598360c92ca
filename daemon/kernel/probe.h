// probe: what this host can do, found out by doing it in throw-away namespaces and cgroups. For `tapdeck doctor`; the
// capture layer does not depend on it. Thread: any, but the process must have only one (each probe is a forked child
// with a time limit, because loading a BPF program can hang in the kernel).
#pragma once

#include <string>
#include <vector>

namespace tapdeck::kernel {

enum class Use {
  Now,
  Partly  // the rest of capture works without it
};

struct Finding {
  std::string name;  // stable, "cgroup_capture"
  bool ok = false;
  std::string detail;       // what was seen, or what failed and why
  std::string consequence;  // what does not work without it; empty when ok
  Use use = Use::Now;
};

// Takes a second or two. Leaves nothing behind, also when a probe dies.
[[nodiscard]] std::vector<Finding> probe();

}  // namespace tapdeck::kernel
