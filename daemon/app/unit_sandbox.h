// What the sandbox of systemd/tapdeck.service keeps from `serve`, in words. Some documented keys need a drop-in there
// (docs/OPERATIONS.md); an errno alone does not say so. Thread: any.
#pragma once

#include <filesystem>
#include <string>

#include "daemon/base/result.h"

namespace tapdeck::app {

// Are we the main process of a unit with Type=notify?
[[nodiscard]] bool in_unit();

// What to append to the message of an error that the sandbox explains, beginning with "; "; else "". It reads what the
// detail names: a path, or "listen on ADDRESS".
[[nodiscard]] std::string unit_hint(const Error& error, const std::filesystem::path& state_dir);

// The problems of a configuration, one a line, each with the hint for a file that it names and the unit does not see.
[[nodiscard]] std::string with_unit_hints(const std::string& problems);

// Error: the directory is in a /home, /root or /tmp that the unit has for itself: recordings and CA would go with the
// service. Before anything is made there. `host_root`: the host's file system as we see it.
[[nodiscard]] Result<void> check_state_lasts(const std::filesystem::path& state_dir,
                                             const std::filesystem::path& host_root = "/proc/1/root");

}  // namespace tapdeck::app
