// Which cgroups were just made, from an inotify instance on directories of the cgroup2 mount, and whether one of them
// is a container's: the sign to ask the runtimes at once. Knows names of directories, no targets. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tapdeck::app {

struct MadeCgroups {
  std::vector<std::string> names;  // last components
  bool any = false;
  bool container = false;
  bool lost = false;  // some events were: anything may have been made
};

// What has happened since the last call; never blocks.
[[nodiscard]] MadeCgroups read_made_cgroups(int inotify_fd);

// podman, docker and the kubelet's runtimes put the id, 64 hexadecimal digits, into the name. Empty: no container's.
[[nodiscard]] std::string_view container_id_in(std::string_view name);
[[nodiscard]] inline bool is_container_cgroup(std::string_view name) {
  return !container_id_in(name).empty();
}

// Below `mount`, with it: where runtimes make the cgroups of containers unless told otherwise.
[[nodiscard]] std::vector<std::string> container_places(const std::string& mount);

// Watching a directory twice is one watch; one that is not there or is beyond the limit is not watched.
void watch_for_cgroups(int inotify_fd, const std::string& directory);

}  // namespace tapdeck::app
