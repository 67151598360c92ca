// Trust for all that runs in a cgroup: a binding for each mount namespace its processes live in, shared with other
// cgroups that have processes there.
// Not the binding itself (trust/bind.h). Thread: any; blocks for as long as the binder does.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/trust/shared_bindings.h"

namespace tapdeck::app {

using TrustBinder = trust::Binder;

struct TargetTrust {
  std::vector<std::unique_ptr<trust::SharedBindings::Share>> bindings;
  std::string text;                  // "3 trust stores covered", and what else its clients need, for people
  std::vector<std::string> skipped;  // stores left uncovered, "path: why"
};

// Processes on the host's own mounts are left alone and mentioned in `text`, as is the last binding that failed.
// At most 32 namespaces: a slice of hundreds of services is not what attach is for.
[[nodiscard]] TargetTrust bind_cgroup_trust(const std::string& cgroup_path, trust::SharedBindings& shared,
                                            const TrustBinder& bind);

}  // namespace tapdeck::app
