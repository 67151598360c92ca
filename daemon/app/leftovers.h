// What processes left behind that were killed. `tapdeck clean` removes all of it; a daemon and a run, what could be in
// their way. Thread: the main one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::app {

// Each run has a capture directory of its own below the run directory, with its pid behind this, so that `make -j`
// works.
inline constexpr std::string_view kRunCapturePrefix = "capture-";
// The same of the trust files that its command is shown.
inline constexpr std::string_view kRunTrustPrefix = "run-";
// In a capture directory: the path of the cgroup that is captured.
inline constexpr std::string_view kCgroupRecord = "cgroup";

// Kernel state, directories and cgroups of runs that are dead. Who outlived such a run is killed before the programs
// go that still refuse it; whoever cannot be killed keeps them. What stays is logged and tried again by the next.
void clean_dead_runs(const std::filesystem::path& run_dir);

struct Cleaned {
  size_t runs = 0;       // dead ones whose directories went
  size_t bindings = 0;   // of trust, in targets
  bool records = false;  // of a dead daemon, and what they name in the kernel
  bool refused = false;  // with them went what refused connections of closed targets
  bool lives = false;    // a daemon: what is its own stayed
};
// Those, and what a dead daemon left: its mounts in targets, programs, filters and routes. An error names what stays.
[[nodiscard]] Result<Cleaned> clean_all_leftovers(const std::filesystem::path& run_dir);
// That as a sentence without a full stop.
[[nodiscard]] std::string to_text(const Cleaned& cleaned, const std::filesystem::path& run_dir);

}  // namespace tapdeck::app
