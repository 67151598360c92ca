// How recordings, sessions and targets look as JSON: the shapes of the admin API, `--json` and docs. Keys are only ever
// added. Not the storage format. Thread: any.
#pragma once

#include <nlohmann/json.hpp>

#include "daemon/app/targets.h"
#include "store/record.h"

namespace tapdeck::app {

using Json = nlohmann::ordered_json;  // keys in the order they are written: people read this

// RFC 3339, UTC, milliseconds; "" for 0.
[[nodiscard]] std::string format_time(int64_t unix_us);
[[nodiscard]] Json session_view(const store::SessionInfo& session);
// One line of a list.
[[nodiscard]] Json recording_row(const store::Recording& recording);
// Everything but the bodies' bytes.
[[nodiscard]] Json recording_view(const store::Recording& recording);
[[nodiscard]] Json target_view(const TargetStatus& target);
// The answer of what has none of its own.
[[nodiscard]] Json done_view(std::string_view what, const std::string& name);
// One JSON text; bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string dump(const Json& json);

}  // namespace tapdeck::app
