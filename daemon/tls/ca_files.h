// Private to daemon/tls: reading the CA's two files with the care that a private key needs; base/whole_file.h writes
// them. No X.509 here. Thread: any; blocks on disk.
#pragma once

#include <optional>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::tls {

enum class Secrecy { Public, OwnerOnly };

// An exclusive flock on the folder of `path`, held as long as the descriptor is open.
[[nodiscard]] Result<UniqueFd> lock_folder_of(const std::string& path);
// The content; nullopt when there is no such file. With OwnerOnly, a mode with any bit for group or others is refused
// (Permission). Larger than 1 MiB is InvalidConfig.
[[nodiscard]] Result<std::optional<std::string>> read_small_file(const std::string& path, Secrecy secrecy);

}  // namespace tapdeck::tls
