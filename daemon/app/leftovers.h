// What processes left behind that were killed. `tapdeck clean` removes all of it; a daemon and a run, what could be in
// their way. Thread: the main one.
#pragma once

#include <filesystem>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::app {

// Each run has a capture directory of its own below the run directory, with its pid behind this, so that `make -j`
// works.
inline constexpr std::string_view kRunCapturePrefix = "capture-";
// The same of the trust files that its command is shown.
inline constexpr std::string_view kRunTrustPrefix = "run-";

// Kernel state, directories and cgroups of runs that are dead. What stays is logged and tried again by the next.
void clean_dead_runs(const std::filesystem::path& run_dir);

// Those, and what a dead daemon left: its mounts in targets, programs, filters and routes. An error names what stays.
[[nodiscard]] Result<void> clean_all_leftovers(const std::filesystem::path& run_dir);

}  // namespace tapdeck::app
