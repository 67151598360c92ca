// What target_resolve.cc, container_lookup.cc and targets_attach.cc share, and nobody else.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/app/target_resolve.h"

namespace tapdeck::app {

[[nodiscard]] std::string first_line(const std::string& text);
[[nodiscard]] std::vector<std::string> lines_of(const std::string& text);
// "; nearest: web, webapp", or nothing.
[[nodiscard]] std::string nearest_text(std::string_view name, const std::vector<std::string>& candidates);
// Some process in the cgroup or below it; 0 when there is none.
[[nodiscard]] pid_t any_pid_in(const std::string& path);
// The last step for all that have a cgroup: it is there and not ours; own_mounts is filled in. `what` is for people.
[[nodiscard]] Result<ResolvedTarget> finish_target(ResolvedTarget target, const std::string& mount,
                                                   const std::string& what);

}  // namespace tapdeck::app
