// Small files written as a whole: state, secrets, certificates, manifests. Readers see the old file or the new one,
// never a part of either. Not for bodies or recordings. Thread: any; blocks on disk.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck {

// All of `bytes`, however many writes that takes.
Result<void> write_all(int fd, std::string_view bytes);

// What a power cut may undo. No: the content may be lost, too. Content: the old file or the new one is there, whole.
// Name: it is the new one.
enum class Sync : uint8_t { No, Content, Name };

// Makes a new file beside `path`, of exactly `mode` whatever the umask, and renames it over. Errors are those of
// open(2), write(2), fchmod(2), fsync(2) and rename(2) and name `path`; then nothing is left behind, and what was at
// `path` is as before, unless it was the last fsync that failed (Sync::Name). Killed meanwhile, it leaves
// its new file, NAME.unfinished-XXXXXX.
Result<void> replace_file(const std::filesystem::path& path, std::string_view bytes, mode_t mode, Sync sync);
// Those of earlier calls that were killed, beside `path`. Only for whoever alone writes it now.
void remove_unfinished(const std::filesystem::path& path);
// replace_file() without a sync, and the file is ours as by hold() of processes.h from before anybody sees it.
[[nodiscard]] Result<UniqueFd> replace_and_hold(const std::filesystem::path& path, std::string_view bytes, mode_t mode);

}  // namespace tapdeck
