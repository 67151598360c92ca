// Filters of other tapdecks on the interfaces of this network namespace. Of two on one interface only the first sees a
// packet; both need the same routing rules. Looks only. Thread: control thread.
#pragma once

#include <string>

#include "daemon/base/result.h"
#include "daemon/kernel/other_programs.h"
#include "daemon/kernel/rtnetlink.h"

namespace tapdeck::kernel {

// Busy, naming who has it, when a living tapdeck has a filter on the interface that is not among `ours`. One that is
// not there is nobody's.
[[nodiscard]] Result<void> check_interface_not_taken(const std::string& interface_name, const ProgramIds& ours);

// A living tapdeck captures some interface here by a filter that is not among `ours`, and by these rules: whoever is
// last removes them.
[[nodiscard]] bool others_need(const Steering& steering, const ProgramIds& ours);

}  // namespace tapdeck::kernel
