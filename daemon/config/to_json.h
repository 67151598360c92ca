// A configuration as JSON, for scripts; to_toml (config.h) is for people and the one that reads back. Thread: any.
// Pure.
#pragma once

#include <string>

#include "daemon/config/config.h"

namespace tapdeck::config {

// The keys and values of to_toml() as one JSON object, sections as members.
[[nodiscard]] std::string to_json(const Config& config);

}  // namespace tapdeck::config
