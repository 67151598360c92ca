// /proc/PID/mountinfo as values (proc_pid_mountinfo(5)). Parsing only. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tapdeck::trust {

// A mountinfo of a host with thousands of containers is a few MiB.
inline constexpr size_t kMaxMountinfo = 64UL << 20;

struct MountEntry {
  uint64_t id = 0;
  uint64_t parent = 0;        // the id of the mount that it lies on
  std::string point;          // as seen from the root of the process read; octal escapes undone
  uint64_t shared_group = 0;  // peer group that mounts below it propagate to; 0 when not shared
  std::string source;         // the file system's "device": our tmpfs says tapdeck-trust:ID
};

// Lines that do not parse are left out.
[[nodiscard]] std::vector<MountEntry> parse_mountinfo(std::string_view text);

}  // namespace tapdeck::trust
