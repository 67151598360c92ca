// The bearer token of the admin API: random, new at every start, in a file only its owner reads. Thread: any.
#pragma once

#include <filesystem>
#include <string>

#include "daemon/base/result.h"

namespace tapdeck::admin {

// 256 random bits in hex, written to `file` (0600, replaced atomically). Permission, NotFound (no such directory), Io.
[[nodiscard]] Result<std::string> make_token(const std::filesystem::path& file);
// Reads it for a client.
[[nodiscard]] Result<std::string> read_token(const std::filesystem::path& file);

}  // namespace tapdeck::admin
