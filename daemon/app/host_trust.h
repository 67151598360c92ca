// Host trust: `tapdeck ca install` puts our CA's certificate where this host's distribution keeps the administrator's
// own roots, and has the distribution rebuild its bundles; `--remove` takes it away again.
//
// Not the trust of a target (trust/bind.h covers stores in a mount namespace and writes nothing): this is for hosts
// and images where a lasting change is wanted. Java, NSS and Firefox have stores of their own. Thread: any; blocks.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::app {

// Writes `pem` and refreshes; installing twice is fine. Returns the file. The name carries the first bytes of
// `fingerprint` (hex), so that several installs do not replace each other. `root` is "/" but for tests.
// Unsupported where no known store is; Io when the refresh fails (the file is as before the call).
[[nodiscard]] Result<std::filesystem::path> install_in_host(std::string_view pem, std::string_view fingerprint,
                                                            const std::filesystem::path& root = "/");
// NotFound when it was not installed.
[[nodiscard]] Result<std::filesystem::path> remove_from_host(std::string_view fingerprint,
                                                             const std::filesystem::path& root = "/");

}  // namespace tapdeck::app
