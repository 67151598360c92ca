// The environment `tapdeck run` gives its command, for runtimes that take trust only from variables.
//
// Variables that *replace* a client's roots get a merged bundle; those that *add* get our certificate alone. JAVA is
// not served here (a keystore, not PEM). Thread: any.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/trust/merge.h"

namespace tapdeck::trust {

// Writes into `directory` (made 0755 when missing), each file 0644 and put in place by rename: `ca.pem`, `bundle.pem`
// (host roots + ours) and, for each variable that `environment` already sets to another readable file, a
// `bundle-VARIABLE-DIGEST.pem` of that one's certificates (never its keys) and ours: for nobody who may not read the
// original. Returns `environment` ("NAME=value" entries, order kept) with the
// variables set. A variable naming an unreadable file is treated as unset: the client could not have used it.
[[nodiscard]] Result<std::vector<std::string>> trust_environment(const std::vector<std::string>& environment,
                                                                 const CaCertificate& ca,
                                                                 const std::filesystem::path& directory);

}  // namespace tapdeck::trust
