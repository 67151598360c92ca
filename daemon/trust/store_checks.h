// What the search of stores.h lets pass: who may have a file or directory covered, and what holds certificates. Not the
// search itself, and no mounting. Thread: any; may block as the search may.
#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/trust/stores.h"

namespace tapdeck::trust {

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Dir = std::unique_ptr<DIR, DirCloser>;

// The entries of a directory, which may be an O_PATH descriptor. Null when it cannot be read.
[[nodiscard]] Dir list_dir(int fd);

// By its name: *.pem, *.crt, or <subject hash>.<n>.
[[nodiscard]] bool looks_like_certificate(std::string_view name);

// A regular file (O_PATH will do) with a certificate in it. Unsupported when it is not.
[[nodiscard]] Result<void> check_bundle(int fd);

// A directory of certificates that all may read.
[[nodiscard]] Result<void> check_named_directory(int fd);

// Where the search takes place.
struct SearchRoot {
  int fd = -1;
  uid_t owner = 0;  // counts as root
  [[nodiscard]] bool is_root(uid_t uid) const { return uid == 0 || uid == owner; }
};

// May `by` have what `fd` (O_PATH will do) holds covered? Permission when it belongs neither to them nor to root, when
// they could not read it, counting the directories above it, or when all may write it. By the mode bits alone: what
// only an access control list allows does not count. Root may have anything covered that not all may write.
[[nodiscard]] Result<void> check_namer(const SearchRoot& root, const Namer& by, int fd);

// Opens what the symlink `name` in `directory` leads to, below the root, where its owner could have named that:
// check_namer(), and it belongs to root or to the link's owner, who has the directory too, unless root has.
[[nodiscard]] Result<UniqueFd> follow_owned_link(const SearchRoot& root, int directory, const std::string& name);

}  // namespace tapdeck::trust
