// What bind.h does inside its helper process: copy stores with our CA into a tmpfs, mount the copies in another mount
// namespace, and unmount them. Whoever lives there renames, links and mounts meanwhile as they please: a copy is
// mounted on the very file or directory that was copied, held by a descriptor, and only what is known to be ours while
// it is held is unmounted. Both functions change this process's mount namespace for good: never call them in the daemon
// itself.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/trust/bind.h"

namespace tapdeck::trust {

struct OverlayJob {
  int pid = 0;
  uint64_t namespace_inode = 0;  // the mount namespace the caller saw; another one is NotFound
  std::string id;                // tags the mounts: their source is source_tag(id)
  std::string scratch;           // an existing directory to mount the tmpfs on, in a namespace of the helper's own
  std::string host_roots;        // for namespaces with an empty store; may be empty
  CaCertificate ca;
  ScanOptions scan;
  Environments environments = Environments::Ignored;
  std::function<void()> after_scan = {};  // for tests: what a hostile target does then
};

[[nodiscard]] std::string source_tag(std::string_view id);

// Returns encode_report() of what was mounted; what lies on a mount tagged with job.id already is not mounted again.
[[nodiscard]] Result<std::string> mount_overlays(const OverlayJob& job);
// Unmounts what carries source_tag(id) in the namespace of `pid`. Busy when another mount lies on one or in it, or when
// it cannot be got hold of because directories above it are renamed again and again. `after_look` is for tests, as
// above: called after each look at what is mounted where.
[[nodiscard]] Result<std::string> unmount_overlays(int pid, uint64_t namespace_inode, const std::string& id,
                                                   const std::function<void()>& after_look = {});

[[nodiscard]] std::string encode_report(const BindReport& report);
[[nodiscard]] BindReport decode_report(std::string_view text);

}  // namespace tapdeck::trust
