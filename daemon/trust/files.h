// Small whole-file reads of trust stores and manifests; base/whole_file.h writes. Not for bodies or recordings.
// Thread: any.
#pragma once

#include <filesystem>
#include <string>

#include "daemon/base/result.h"

namespace tapdeck::trust {

// From the file's current position to its end. TooLarge past `limit` bytes.
[[nodiscard]] Result<std::string> read_all(int fd, size_t limit);
[[nodiscard]] Result<std::string> read_whole_file(const std::filesystem::path& path, size_t limit);

}  // namespace tapdeck::trust
