// What `tapdeck doctor` concludes from what kernel::probe() found, and from the configuration. Thread: any; values.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/kernel/probe.h"

namespace tapdeck::app {

struct Verdict {
  bool by_cgroup = false;      // `run`, containers, units, pids, cgroups
  bool by_interface = false;   // bridges and veths
  bool by_namespace = false;   // `run` of an ordinary user
  std::string_view text = {};  // a sentence for people
};
[[nodiscard]] Verdict verdict_of(const std::vector<kernel::Finding>& findings);

// For people: a line of what was found, and one of what follows where it failed.
[[nodiscard]] std::string lines_of(const kernel::Finding& finding);

// Whether the configuration that `serve` and `run` would read has errors: of `file`, empty: of where they look.
[[nodiscard]] kernel::Finding look_at_configuration(const std::filesystem::path& file);

}  // namespace tapdeck::app
