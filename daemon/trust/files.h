// Small whole-file reads and writes for trust stores and manifests. Not for bodies or recordings. Thread: any.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::trust {

// From the file's current position to its end. TooLarge past `limit` bytes.
[[nodiscard]] Result<std::string> read_all(int fd, size_t limit);
[[nodiscard]] Result<std::string> read_whole_file(const std::filesystem::path& path, size_t limit);
Result<void> write_all(int fd, std::string_view bytes);
// Writes a temporary file beside `path` with exactly `mode` and renames it over: readers see the old or the new one.
Result<void> replace_file(const std::filesystem::path& path, std::string_view bytes, mode_t mode);

}  // namespace tapdeck::trust
