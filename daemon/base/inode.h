// The number by which the kernel tells files, cgroups and namespaces apart. Thread: any.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

namespace tapdeck {

// Of what `path` leads to: of a cgroup's directory its id, of /proc/PID/ns/NAME that of the namespace. 0: gone, or not
// to be seen.
[[nodiscard]] inline uint64_t inode_of(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace tapdeck
