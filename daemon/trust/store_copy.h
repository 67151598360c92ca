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
  int root_fd = -1;  // where the originals are
  const CaCertificate* ca = nullptr;
  std::string host_roots;            // for StoreKind::EmptyDir
  std::vector<std::string> bundles;  // paths of all bundles found: those inside a directory are merged in its copy
};

// Makes `destination` (a file or a directory, absent before). TooLarge when the original passes the bounds of merge.h
// or 8192 directory entries; owners and modes are kept, special files left out.
Result<void> copy_store(const TrustStore& store, const CopyJob& job, const std::string& destination);

}  // namespace tapdeck::trust
