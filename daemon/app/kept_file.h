// A small file of the state directory, replaced as a whole: what a daemon knows again after a crash or a power cut.
// Thread: any.
#pragma once

#include <filesystem>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::app {

// Readers see the old file or the new one, never a part. On the disk when it returns; 0600. Errors: those of open(2),
// write(2), fsync(2) and rename(2), naming the file.
Result<void> replace_on_disk(const std::filesystem::path& file, std::string_view text);

}  // namespace tapdeck::app
