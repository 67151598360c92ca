// Trust for all that runs in a cgroup: one binding for each mount namespace its processes live in.
// Not the binding itself (trust/bind.h). Thread: any; blocks for as long as the binder does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/trust/bind.h"

namespace tapdeck::app {

// Binds trust into the mount namespace of a process.
using TrustBinder = std::function<Result<std::unique_ptr<trust::Binding>>(int pid)>;

struct TargetTrust {
  std::vector<std::unique_ptr<trust::Binding>> bindings;
  std::string text;                  // "3 trust stores covered", and what else its clients need, for people
  std::vector<std::string> skipped;  // stores left uncovered, "path: why"
};

// Processes on the host's own mounts are left alone and mentioned in `text`, as is the last binding that failed.
// At most 32 namespaces: a slice of hundreds of services is not what attach is for.
[[nodiscard]] TargetTrust bind_cgroup_trust(const std::string& cgroup_path, const TrustBinder& bind);

}  // namespace tapdeck::app
