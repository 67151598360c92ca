// The mode that `mode set` gave the daemon, over its restarts: mode.json in the state directory.
//
// Not the modes of targets, which targets.json keeps. Thread: any; functions without state.
#pragma once

#include <filesystem>
#include <optional>

#include "daemon/base/result.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::app {

struct KeptMode {
  Mode mode = Mode::Record;
  Mode configured = Mode::Record;  // [proxy] mode when it was set: once the file says otherwise, the file wins
};

// nullopt: none was set. Corrupt names file and reason.
[[nodiscard]] Result<std::optional<KeptMode>> load_mode(const std::filesystem::path& file);
// Replaces the file atomically; on the disk when it returns.
Result<void> save_mode(const std::filesystem::path& file, const KeptMode& kept);

// What a daemon with this configuration would begin with. Errors: Permission, Io.
[[nodiscard]] Result<Mode> mode_of_next_start(const std::filesystem::path& file, Mode configured);
// The same, by the daemon that begins. The log says why when it is not the configured one, or when a kept one is
// dropped. In place of a file that does not decode, replay is in force and kept: whatever had been set, that asks no
// origin and records over nothing. A file that cannot be written now (a full disk) is in the log and no reason not to
// begin.
[[nodiscard]] Result<Mode> mode_at_start(const std::filesystem::path& file, Mode configured);

}  // namespace tapdeck::app
