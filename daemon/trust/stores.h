// Finding the trust stores of a file system: distro bundles, hashed directories, p11-kit anchors, the cacert.pem files
// Python packages carry, and what clients' environments name (named_stores.h). Read only.
//
// Every path is resolved inside the given root (in_root.h), so that a hostile image's symlinks cannot lead out of it,
// and what was found is held open: another file of its name later is not taken for it. The search is bounded in depth,
// entries and time. It may block on a dead network file system of the target: call it in a process that can be killed
// (bind.h does). Thread: any.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::trust {

enum class StoreKind {
  Bundle,     // one PEM file; gets our certificate appended
  HashedDir,  // OpenSSL directory; gets <subject-hash>.N, and its bundles our certificate
  AnchorDir,  // p11-kit source/anchors; gets one more PEM file
  EmptyDir,   // a well-known directory with no certificate in it; gets a bundle made of the host's roots and ours
};

struct TrustStore {
  StoreKind kind = StoreKind::Bundle;
  std::string path;      // absolute below the root, without symlinks, when it was found; unique in a scan
  std::string found_as;  // the well-known name that led here
};

struct FoundStore : TrustStore {
  UniqueFd place;  // O_PATH: the very file or directory that was looked at
};

// Who names a store: what is not theirs is not covered for them.
struct Namer {
  uid_t uid = 0;
  std::vector<gid_t> groups;
};

// A file or directory that a variable names, for all its client can tell a trust store.
struct NamedStore {
  std::string variable;
  std::string path;
  Namer by = {};
};

struct ScanOptions {
  // Where Python packages are looked for, absolute below the root. Empty: default_python_roots().
  std::vector<std::string> python_roots;
  size_t max_entries = 200000;  // directory entries read in the whole search
  size_t max_depth = 9;         // below a python root
  size_t max_stores = 64;
  // For named stores and Python packages together: a slow disk must not cost the stores of the distribution their
  // cover.
  std::chrono::milliseconds patience{3000};
  // Taken when they hold certificates and nothing that a read-only copy would break, and when who names them could read
  // them, counting the directories above, and they belong to that user or root (the owner of the root directory counts
  // as root). Root may name any.
  std::vector<NamedStore> named;
};

struct Scan {
  std::vector<FoundStore> stores;  // directories before the files in them
  bool truncated = false;          // entries, stores or patience ran out; stores may have been missed
  // Of ScanOptions::named, "path (VARIABLE): why", and of symlinks in Python packages, "path: why", at most 64.
  std::vector<std::string> refused;
};

// `root_fd`: a directory (O_PATH will do), as from opening /proc/PID/root. Bundles inside a directory store are listed
// too: they are merged with the directory, or by themselves if the directory cannot be.
[[nodiscard]] Result<Scan> find_stores(int root_fd, const ScanOptions& options);

[[nodiscard]] std::vector<std::string> default_python_roots();

// The host's own roots: the first well-known bundle of this process's file system. NotFound when there is none.
[[nodiscard]] Result<std::string> read_host_roots();

}  // namespace tapdeck::trust
