// The bearer token of the admin API: random, new at every start, in a file only its owner reads. Thread: any.
#pragma once

#include <filesystem>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::admin {

struct Token {
  std::string text;
  UniqueFd held;  // locked: no other daemon takes the file while this is open
};

// 256 random bits in hex, written to `file` (0600, replaced atomically). Busy (it is another running daemon's),
// Permission, NotFound (no such directory), Io.
[[nodiscard]] Result<Token> make_token(const std::filesystem::path& file);
// Reads it for a client.
[[nodiscard]] Result<std::string> read_token(const std::filesystem::path& file);

}  // namespace tapdeck::admin
