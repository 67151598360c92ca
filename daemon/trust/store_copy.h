// The merged copy of one trust store, made in a directory of ours. Reads the original, writes only the copy.
// Thread: any.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/trust/merge.h"
#include "daemon/trust/stores.h"

namespace tapdeck::trust {

struct CopyJob {
  const CaCertificate* ca = nullptr;
  std::string host_roots;  // for StoreKind::EmptyDir
  // Paths of all that were found: those inside a directory get our certificate in its copy.
  std::vector<std::string> bundles;
  std::vector<std::string> directories;
};

// Makes `destination` (a file or a directory, absent before) of what is at store.place, whatever its path leads to by
// now. TooLarge when the original passes the bounds of merge.h or 8192 directory entries; Unsupported when a bundle has
// text and no certificate. Owners and modes are kept, private keys in a bundle too: its client may read its own there.
// Special files are left out.
Result<void> copy_store(const FoundStore& store, const CopyJob& job, const std::string& destination);

}  // namespace tapdeck::trust
